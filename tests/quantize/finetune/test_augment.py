"""Augmentations of training batches."""

import pytest
import torch

from trispike.errors import InvalidDataError
from trispike.quantize.finetune import mirrored


@pytest.mark.parametrize("shape", [(2, 3, 5), (4, 2, 3, 5)])
def test_every_other_image_is_turned_left_to_right(shape):
    codes = torch.rand(400, *shape)
    changed = mirrored(codes, torch.Generator().manual_seed(0))
    same = (changed == codes).flatten(1).all(1)
    turned = (changed == codes.flip(-1)).flatten(1).all(1)
    assert (same ^ turned).all()
    assert 150 < int(same.sum()) < 250


def test_what_is_no_image_has_no_left_and_right():
    with pytest.raises(InvalidDataError, match="images"):
        mirrored(torch.zeros(3, 7), torch.Generator())
