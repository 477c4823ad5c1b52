import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from scipy.io import savemat
from sklearn.cluster import KMeans

from mmfusion import EarlyFusionClusterer
from mmfusion.datasets import load_file, load_mat, load_npz, save_npz
from tests.datasets.mat_files import save_v73

N = 6
rng = np.random.default_rng(0)
A, B = rng.normal(size=(N, 3)), rng.normal(size=(N, 4))
CLASSES = np.array([2, 1, 3, 1, 2, 2])  # as stored, from 1


def as_classic(value):
    """A value in the form that scipy writes: lists become cells."""
    if isinstance(value, list):
        cell = np.empty((1, len(value)), dtype=object)
        cell[0] = [as_classic(element) for element in value]
        return cell
    if isinstance(value, dict):
        return {name: as_classic(element) for name, element in value.items()}
    return value


def save_classic(path, variables):
    savemat(path, as_classic(variables))


@pytest.fixture(params=[save_classic, save_v73])
def save(request, tmp_path):
    """Write a file of either layout and return its path."""

    def write(**variables):
        request.param(tmp_path / "paper.mat", variables)
        return tmp_path / "paper.mat"

    return write


def assert_holds(path, *blocks, y=CLASSES - 1, **options):
    X, labels = load_mat(path, **options, return_X_y=True)
    assert len(X.blocks) == len(blocks)
    for own, expected in zip(X.blocks, blocks, strict=True):
        assert_array_equal(own, expected)
    assert_array_equal(labels, y)
    return X


@pytest.mark.parametrize(
    "labels",
    [
        CLASSES,
        CLASSES[:, None],
        CLASSES[None],
        np.eye(3)[CLASSES - 1],
        np.eye(3)[CLASSES - 1].T,
        sparse.csc_array(np.eye(3)[CLASSES - 1]),
        [CLASSES[:, None], CLASSES[:, None]],
        CLASSES.astype(float),
    ],
)
@pytest.mark.parametrize("blocks", [[A, B], [A.T, B.T]])
def test_a_cell_of_modalities_and_labels_of_any_orientation(save, blocks, labels):
    assert_holds(save(X=blocks, Y=labels), A, B)


@pytest.mark.parametrize("name", ["gt", "Y", "truth", "labels", "true_label", "gnd"])
def test_labels_of_usual_names(save, name):
    assert_holds(save(**{"data": [A, B], name: CLASSES}), A, B)
    _, target_names = load_file(save(X=[A, B], comment="by hand"))
    assert target_names is None


def test_labels_of_text_and_other_numbers(save):
    path = save(X=[A, B], gt=["b", "a", "cc", "a", "b", "b"])
    assert_holds(path, A, B)
    assert load_mat(path).target_names.tolist() == ["a", "b", "cc"]
    ages = np.array([30, 41, 30, 55, 60, 41])
    assert_holds(save(X=[A, B], age=ages), A, B, y=ages, target="age")
    assert_holds(save(X=[A, B], y=ages / 7), A, B, y=ages / 7)


def test_separate_variables(save):
    path = save(X1=A, X2=B, Y=CLASSES, folds=np.arange(N), name="paper", rate=0.5)
    X = assert_holds(path, A, B)
    assert X.names == ("X1", "X2")
    X = assert_holds(path, B, A, modalities=["X2", "X1"])
    assert X.names == ("X2", "X1")
    X = assert_holds(path, A, modalities={"audio": "X1"})
    assert X.names == ("audio",)
    assert_holds(path, np.arange(N)[:, None], modalities=["folds"])


def test_fields_of_structs_and_elements_of_cells(save):
    path = save(data={"X": [A.T, B.T], "gt": CLASSES})
    assert_holds(path, A, B)
    X = assert_holds(path, B, modalities={"video": "data.X{2}"}, target="data.gt")
    assert X.names == ("video",)
    path = save(views=[{"f": A}, {"f": B}], gt=CLASSES)
    assert_holds(path, B, A, modalities={"b": "views{2}.f", "a": "views{1}.f"})


def test_array_of_structs(tmp_path):
    views = np.array([(A,), (B,)], dtype=[("data", object)])
    savemat(tmp_path / "paper.mat", {"views": views, "gt": CLASSES})
    assert_holds(tmp_path / "paper.mat", A, B)


def test_sparse_matrices_stay_sparse(save):
    words = sparse.random_array((N, 30), density=0.2, rng=0)
    X = load_mat(save(X=[words.T, B.T], Y=CLASSES)).data
    assert sparse.issparse(X.blocks[0])
    assert_array_equal(X.blocks[0].toarray(), words.toarray())


def test_images_have_samples_first_or_last(save):
    images = rng.normal(size=(N, 3, 2))
    assert_holds(save(X=[images, A], Y=CLASSES), images, A)
    last = np.moveaxis(images, 0, -1)
    assert_holds(save(X=[last, A.T], Y=CLASSES), images, A)


def test_square_modalities_follow_the_others(save):
    square = rng.normal(size=(N, N))
    assert_holds(save(X=[square, A], Y=CLASSES), square, A)
    assert_holds(save(X=[square.T, A.T], Y=CLASSES), square, A)


def test_samples_are_asked_for_where_both_axes_fit(save):
    square = rng.normal(size=(N, N))
    path = save(X=[square], Y=CLASSES)
    with pytest.raises(ValueError, match="samples='rows' or samples='columns'"):
        load_mat(path)
    assert_holds(path, square, samples="rows")
    assert_holds(path, square.T, samples="columns")
    with pytest.raises(ValueError, match="give 'rows', 'columns' or None"):
        load_mat(path, samples="row")


def test_without_labels_the_modalities_share_their_number_of_samples(save):
    assert_holds(save(X=[A, B]), A, B, y=None)
    assert_holds(save(X=[A.T, B.T]), A, B, y=None)
    path = save(X=[A])
    with pytest.raises(ValueError, match="samples='rows' or samples='columns'"):
        load_mat(path)
    assert_holds(path, A, y=None, samples="rows")


def test_errors_name_the_parameter_that_decides(save):
    with pytest.raises(ValueError, match=r"each of the cell arrays \['X', 'Z'\]"):
        load_mat(save(X=[A, B], Z=[B, A], Y=CLASSES))
    path = save(X=[A, B], Y=CLASSES, gt=CLASSES[::-1])
    with pytest.raises(ValueError, match="target='Y' or target='gt'"):
        load_mat(path)
    assert_holds(path, A, B, target="Y")
    with pytest.raises(ValueError, match=r"no variable 'X\{3\}'; it has X \(cell of 2"):
        load_mat(path, {"c": "X{3}"}, target="Y")
    with pytest.raises(ValueError, match="no variable 'labels'"):
        load_mat(path, target="labels")
    with pytest.raises(ValueError, match=r"target: X .* holds no labels"):
        load_mat(path, target="X")
    with pytest.raises(ValueError, match=r"choose an element, X\{1\}"):
        load_mat(path, ["X"], target="Y")
    with pytest.raises(ValueError, match="no matrices with 5 rows or columns"):
        load_mat(save(X=A, Y=CLASSES[1:]))
    path = save(X=A, Y=CLASSES, Z=B[1:])
    with pytest.raises(ValueError, match=r"do not fit 6 labels.*modalities="):
        load_mat(path, ["X", "Z"])


def test_a_wrong_number_of_samples_is_an_error(save):
    with pytest.raises(ValueError, match=r"'X' .* has 3 columns, but there are 6"):
        load_mat(save(X=A, Y=CLASSES), samples="columns", modalities=["X"])


def test_python_files_in_hdf5_are_not_transposed(tmp_path):
    images = rng.normal(size=(N, 3, 2))
    with h5py.File(tmp_path / "own.mat", "w") as file:
        file["X"], file["B"], file["Y"] = images, B, CLASSES
    X = load_mat(tmp_path / "own.mat").data
    assert_array_equal(X["X"], images)


def test_a_loaded_file_is_clustered(save):
    X, y = load_file(save(X=[A, B], gt=CLASSES))
    clusterer = EarlyFusionClusterer(KMeans(3, random_state=0))
    assert clusterer.fit(X).labels_.shape == y.shape


def test_other_files_name_their_loader(tmp_path, save):
    path = save(X=[A, B], gt=CLASSES)
    with pytest.raises(ValueError, match=r"not an npz file.*datasets\.load_mat"):
        load_npz(path)
    save_npz(tmp_path / "data.mat", [A, B])
    with pytest.raises(ValueError, match=r"not a MATLAB file.*datasets\.load_npz"):
        load_mat(tmp_path / "data.mat")
    (tmp_path / "empty.mat").write_bytes(b"")
    with pytest.raises(ValueError, match="not a MATLAB file, or damaged"):
        load_mat(tmp_path / "empty.mat")


@pytest.mark.parametrize("n_bytes", [20, 130, 400, 700])
def test_truncated_files_are_damaged(save, n_bytes):
    path = save(X=[A, B], gt=CLASSES)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=r"paper\.mat"):
        load_mat(path)


def test_published_files_are_read_as_they_are(shared_data):
    X, y = load_mat(shared_data / "raw" / "MSRC_v1.mat", return_X_y=True)
    assert [block.shape[1] for block in X.blocks] == [24, 576, 512, 256, 254]
    assert_array_equal(np.bincount(y), np.full(7, 30))
    X, y = load_mat(shared_data / "raw" / "100leaves.mat", return_X_y=True)
    assert [block.shape for block in X.blocks] == [(1600, 64)] * 3
    assert_array_equal(np.bincount(y), np.full(100, 16))


def test_sparse_modalities_without_entries_are_read(tmp_path):
    empty = sparse.csc_matrix((N, 3))
    savemat(tmp_path / "own.mat", {"P": empty, "Q": B, "gt": CLASSES})
    X = load_mat(tmp_path / "own.mat", modalities=["P", "Q"]).data
    assert X["P"].shape == (N, 3)


def test_empty_variables_are_refused(tmp_path):
    savemat(tmp_path / "own.mat", {"P": np.zeros((0, 3)), "Q": B, "gt": CLASSES})
    with pytest.raises(ValueError, match=r"P \(0 x 3\) is not .*, but empty; choose"):
        load_mat(tmp_path / "own.mat", modalities=["P", "Q"])
