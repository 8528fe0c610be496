import numpy as np

from trispike.runtime.data import Data

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([2, 0, 1, 1], dtype=np.uint8)


def test_the_first_samples_of_data():
    data = Data(X, Y, "some")
    assert data.first(None) is data.first(4) is data.first(9) is data
    few = data.first(3)
    assert few.name == "some, first 3"
    np.testing.assert_array_equal(few.x, X[:3])
    np.testing.assert_array_equal(few.y, Y[:3])
    assert Data(X, None, "some").first(1).y is None
