"""What every command shares: numbers, tables, progress, how errors end."""

import io

import pytest
from rich.console import Console

from trispike.cli import console


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 pJ"), (1e-15, "0.001 pJ"), (2.36e-11, "23.6 pJ"), (9.99e-10, "999 pJ"),
        (9.996e-10, "1 nJ"), (1e-9, "1 nJ"), (1.2e-5, "12 uJ"), (123.4e-6, "123 uJ"),
        (0.9996e-3, "1 mJ"), (0.25, "250 mJ"), (2.0, "2 J"),
    ],
)  # fmt: skip
def test_joules_have_three_digits_and_a_unit(value, text):
    assert console.joules(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.0, "0.00%"), (0.98886, "98.89%"), (1.0, "100.00%")]
)
def test_percentages(value, text):
    assert console.percent(value) == text


def shown(table, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, **console._PLAIN).print(table)
    return stream.getvalue()


@pytest.mark.parametrize("width", [30, 40, 80, 120, console.PIPE_WIDTH])
def test_tables_lose_no_letter(width):
    name, number = "layer4.2.output_act->layer4.2.downsample.conv", "1,234,567"
    table = console.table("connection", "synaptic ops", "share")
    table.add_row(name, number, "12.50%")
    lines = shown(table, width)
    assert "…" not in lines
    assert all(len(line) <= width for line in lines.splitlines())
    cells = [line[: -len("synaptic ops   share") - 1] for line in lines.splitlines()]
    assert "".join(cell.strip() for cell in cells) == "connection" + name
    assert number in lines
    assert "12.50%" in lines


def test_notes_are_indented_where_they_go_on(monkeypatch, capsys):
    monkeypatch.setattr(console.out, "width", 30)
    console.print_note("graded operation: a payload has no price [at all] :smile:")
    assert capsys.readouterr().out == (
        "  graded operation: a payload\n    has no price [at all]\n    :smile:\n"
    )


@pytest.fixture
def terminal(monkeypatch):
    """Lets stderr be a terminal; gives what was drawn on it."""
    stream = io.StringIO()
    fake = Console(file=stream, force_terminal=True, width=80, **console._PLAIN)
    monkeypatch.setattr(console, "err", fake)
    return stream


def test_progress_is_drawn_on_a_terminal_without_a_thread(terminal):
    import threading

    with console.progress_bar("counting", 4) as advance:
        assert "0/4" in terminal.getvalue()
        advance(3)
        assert "3/4" in terminal.getvalue()
        # Lava forks while this runs, and a fork has no other thread but may have its locks.
        assert threading.active_count() == 1
        advance(1)
    assert "counting" in terminal.getvalue()
    assert "4/4" in terminal.getvalue()


def test_stages_are_told_on_a_terminal(terminal):
    with console.stage("loading"):
        pass
    assert "loading" in terminal.getvalue()


def test_nothing_is_drawn_elsewhere(capsys):
    with console.progress_bar("counting", 2) as advance:
        advance(2)
    with console.stage("loading"):
        pass
    assert capsys.readouterr() == ("", "")
