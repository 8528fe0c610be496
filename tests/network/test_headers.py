"""Files with a versioned header: what is no such file, and what is wrong with it."""

import json
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError
from safetensors.numpy import save_file

from trispike.errors import FileFormatError, InvalidDataError
from trispike.network.headers import FileKind, problems

KIND = FileKind(name="diary", format="diary", version=3, fix="Write one.")


class Header(BaseModel):
    version: int
    pages: int
    title: str


X = np.arange(3)
GOOD = {"version": 3, "pages": 2, "title": "May"}


def build(header: str, arrays: dict[str, Any]) -> tuple[Header, dict[str, Any]]:
    return Header.model_validate_json(header), arrays


def written(tmp_path, header: str, key: str = "diary"):
    path = tmp_path / "file.safetensors"
    save_file({"x": np.arange(3)}, path, metadata={key: header})
    return path


def test_header_and_arrays_come_back(tmp_path):
    header, arrays = KIND.read(written(tmp_path, json.dumps(GOOD)), build)
    assert header == Header(**GOOD)
    assert list(arrays) == ["x"]
    np.testing.assert_array_equal(arrays["x"], np.arange(3))


def test_parts_may_come_from_elsewhere(tmp_path):
    path = tmp_path / "file"
    path.write_text(json.dumps(GOOD), encoding="utf-8")
    header, arrays = KIND.read(path, build, lambda p, key: (p.read_text("utf-8"), {key: X}))
    assert (header.pages, list(arrays)) == (2, ["diary"])


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (json.dumps({**GOOD, "version": 2}), "got format version 2; expected version 3. Write one"),
        ("[]", "got unreadable content"),
        ("{", "got unreadable content"),
        (json.dumps({**GOOD, "pages": "many"}), "a header that is not valid .pages: Input should"),
        ('{"version": 3, "pages": 2}', "a header that is not valid .title: Field required"),
    ],
)
def test_a_header_that_is_not_valid(header, text, tmp_path):
    with pytest.raises(FileFormatError, match=text):
        KIND.read(written(tmp_path, header), build)


def test_another_kind_of_file(tmp_path):
    text = "a file without the header of a diary; expected a diary of trispike. Write one."
    with pytest.raises(FileFormatError, match=text):
        KIND.read(written(tmp_path, json.dumps(GOOD), "novel"), build)


def test_content_that_is_refused_is_told_with_the_file(tmp_path):
    def refuse(*_: Any) -> None:
        raise InvalidDataError("page 2", got="blank", expected="text", fix="Write it.")

    path = written(tmp_path, json.dumps(GOOD))
    with pytest.raises(FileFormatError, match=r"content that is not valid \(page 2"):
        KIND.read(path, refuse)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        KIND.read(tmp_path / "absent", build)


def test_problems_are_named_up_to_a_number():
    with pytest.raises(ValidationError) as caught:
        Header.model_validate({})
    error = caught.value
    assert problems(error) == (
        "version: Field required; pages: Field required; title: Field required"
    )
    assert problems(error, most=1) == "version: Field required, and 2 more"
    assert problems(error, most=3) == problems(error)
    with pytest.raises(ValidationError) as caught:
        Header.model_validate_json("[]")
    assert problems(caught.value).startswith("file: ")
    assert problems(caught.value, whole="header").startswith("header: ")
