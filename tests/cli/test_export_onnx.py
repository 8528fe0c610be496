"""``trispike export --format onnx``: written, run, compared."""

import pytest

from trispike.runtime import onnx_file

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.mark.parametrize("form", ["step", "sequence", "unrolled"])
@pytest.mark.parametrize(
    ("which", "carrier"),
    [("integer", "float32"), ("integer", "int8"), ("float", "float32"), ("float", "float64")],
)
def test_every_form_and_carrier(which, carrier, form, run, files, tmp_path):
    network, path = getattr(files, f"{which}_network"), tmp_path / "net.onnx"
    facts = run(
        "export", network, "--format", "onnx", "--form", form, "--carrier", carrier,
        "--data", files.data, "--samples", 4, "-o", path, "--json",
    ).json  # fmt: skip
    assert facts["equal"] is True
    assert (facts["form"], facts["carrier"], facts["samples"]) == (form, carrier, 4)
    assert facts["bytes"] == path.stat().st_size
    assert facts["files"] == [str(path)]


def test_for_people(run, files, tmp_path):
    path = tmp_path / "net.onnx"
    outcome = run("export", files.vectors, "--format", "onnx", "-o", path)
    assert (outcome.code, outcome.err) == (0, "")
    assert "onnxruntime equals the reference engine on 8 samples (random inputs)" in outcome.out
    assert f"wrote {path} (" in outcome.out


def test_a_file_that_is_not_equal_fails(run, files, tmp_path, monkeypatch):
    ours = onnx_file._run_whole
    monkeypatch.setattr(
        onnx_file, "_run_whole", lambda *args: {k: v + 1 for k, v in ours(*args).items()}
    )
    outcome = run(
        "export", files.vectors, "--format", "onnx", "-o", tmp_path / "net.onnx", "--json"
    )
    assert outcome.code == 1
    assert outcome.json["equal"] is False
    assert outcome.json["largest_logit_difference"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--form", "loop"), "expected one of step, sequence, unrolled"),
        (("--carrier", "float64"), "expected one of float32, int8"),
        (("--dt", "1"), "--dt: got format 'onnx'"),
    ],
)
def test_wrong_settings(arguments, message, refused, files):
    command = ("export", files.vectors, "--format", "onnx", *arguments)
    assert message in refused(*command, kind="InvalidSettingError", code=2, output=True)


def test_data_that_does_not_fit(refused, files):
    command = ("export", files.vectors, "--format", "onnx", "--data", files.data)
    assert "samples" in refused(*command, kind="InvalidDataError", output=True)


@pytest.mark.parametrize("option", ["--form", "--carrier"])
def test_options_of_onnx_mean_nothing_to_nir(option, refused, files):
    command = ("export", files.vectors, "--format", "nir", option, "step")
    message = refused(*command, kind="InvalidSettingError", code=2, output=True)
    assert "expected format 'onnx'" in message


def test_engines_on_the_command_line(run, files):
    data = ("--data", files.vectors_data, "--json")
    simulated = run("simulate", files.vectors, "--engine", "onnx", *data).json
    trusted = run("simulate", files.vectors, *data).json
    assert simulated["ledger"] == trusted["ledger"]
    verified = run("verify", files.vectors, "--engines", "reference,onnx", *data).json
    assert verified["equal"] is True


def test_a_file_is_verified(run, files, tmp_path):
    path = tmp_path / "net.onnx"
    run("export", files.vectors, "--format", "onnx", "-o", path)
    command = ("verify", files.vectors, "--data", files.vectors_data, "--onnx", path)
    outcome = run(*command)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"{path} == reference\nsequence form, float32, 5 samples: ")
    assert run(*command, "--json").json["equal"] is True


def test_a_file_of_another_network_or_none_is_refused(refused, run, files, tmp_path):
    path = tmp_path / "net.onnx"
    run("export", files.vectors, "--format", "onnx", "-o", path)
    command = ("verify", files.saturation, "--data", files.saturation_data, "--onnx")
    assert "a model of the network" in refused(*command, path, kind="FileFormatError")
    path.write_bytes(path.read_bytes()[:500])
    assert "an ONNX model" in refused(*command, path, kind="FileFormatError")
