import logging

import numpy as np
import pytest

from trispike.errors import InvalidSettingError
from trispike.runtime.data import DATA_SETS, Samples, load_data, load_digits_split


@pytest.mark.parametrize(
    ("source", "part", "size"),
    [("digits", "test", 359), ("digits:test", "test", 359), ("digits:train", "train", 1438)],
)
def test_data_by_name(source, part, size):
    data = load_data(source)
    expected = getattr(load_digits_split(), part)
    assert data.name == f"digits:{part}"
    assert len(data.x) == size
    np.testing.assert_array_equal(data.x, expected.x)
    np.testing.assert_array_equal(data.y, expected.y)


def tiny(part, notify):
    notify(f"fetching {part}")
    return Samples(np.zeros((2, 1, 2, 2), np.float32), np.arange(2))


def test_what_goes_on_is_told_or_logged(monkeypatch, caplog):
    monkeypatch.setitem(DATA_SETS, "tiny", tiny)
    said: list[str] = []
    with caplog.at_level(logging.INFO, logger="trispike"):
        assert load_data("tiny:train", notify=said.append).name == "tiny:train"
        assert (said, caplog.messages) == (["fetching train"], [])
        assert load_data("tiny").name == "tiny:test"
    assert (said, caplog.messages) == (["fetching train"], ["fetching test"])


@pytest.mark.parametrize("source", ["digit", "nothing.npz", "", "digit:train", ":test"])
def test_data_that_are_not_there(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (
        "got neither a known data set nor a file; expected one of digits, fashion-mnist, mnist, "
        r"cifar10 \(each with :train or :test\), an .npz, .npy or .safetensors file, or event "
        "recordings"
    )
    with pytest.raises(InvalidSettingError, match=f"data '{source}': {text}"):
        load_data(source)


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_part_that_no_data_set_has(name):
    text = f"data '{name}:all': got part 'all'; expected {name}:train or {name}:test"
    with pytest.raises(InvalidSettingError, match=text):
        load_data(f"{name}:all")


def test_the_first_samples_of_a_data_set_or_file(tmp_path):
    whole, few = load_data("digits"), load_data("digits", samples=3)
    np.testing.assert_array_equal(few.x, whole.x[:3])
    assert few.name == "digits:test, first 3"
    np.savez(tmp_path / "x.npz", x=whole.x)
    assert load_data(str(tmp_path / "x.npz"), samples=3).x.shape == (3, 1, 8, 8)


def test_a_file_may_have_the_name_of_a_part_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("digits:mine.npz", x=np.ones((1, 1, 8, 8)))
    assert load_data("digits:mine.npz").x.sum() == 64
