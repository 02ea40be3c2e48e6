"""Codes of a user's file as the signals of an experiment: read as they are, or refused in one sentence."""

import netCDF4
import numpy as np
import pytest

from dcsc import RaggedCodes
from dcsc.errors import UserError
from dcsc.stages import codes_file, dictionaries, signals
from dcsc.store import dataset, provenance, schemas
from dcsc.study import config
from dcsc.study.plan import Plan
from dcsc.study.products import Products
from tests.unit.test_stages import saved

SHAPE, DEEP = (4, 16), (3, 8)
LAYERS = [
    {"family": "lapped", "parameters": {"n_filters": 4}},
    {"family": "gaussian", "parameters": {"n_filters": 3, "taps": 4, "stride": 2}},
]


def some(sizes, shape=SHAPE, seed=0):
    """Dense codes with so many non-zeros each."""
    rng = np.random.default_rng(seed)
    codes = np.zeros((len(sizes), *shape))
    for code, size in zip(codes, sizes):
        code.flat[rng.choice(code.size, size, replace=False)] = rng.choice([-1, 1], size) * rng.uniform(0.5, 1, size)
    return codes


def configured(path, layers=1, **drawn):
    drawn = {"active": [2, 5], "trials": 40, "codes": str(path), **drawn}
    return {
        "results": "results-own",
        "seed": 3,
        "cascades": {"it": {"grid": [64], "replicates": 2, "layers": LAYERS[:layers]}},
        "experiments": {
            "own": {
                "title": "Are codes of a file recovered?",
                "cascades": ["it"],
                "signals": {key: value for key, value in drawn.items() if value is not None},
                "pursuits": {"it": {"rule": "top-k"}},
                "figures": ["recovery"],
            }
        },
    }


def drawn_from(study, folder):
    plan = Plan(study)
    made = dictionaries.draw_dictionaries(plan.dictionary_settings("it")["cascade"], 3)
    made = saved(made, folder / "d.nc", schemas.DICTIONARIES)
    return signals.sample_signals(plan.signal_settings("own", "it", "000000"), made)


def as_lists(path, codes, layer):
    record = provenance.record("signals", schemas.SIGNALS.version, {}, {"sha256": "", "modules": {}}, {})
    sparse = RaggedCodes.from_dense(codes, codes.shape[1:])
    lists = dataset.codes_to_dataset(sparse.reshape((1, 1, 1, len(codes))))
    batch = dict(zip(schemas.BATCH, ([0], ["a"], [1], np.arange(len(codes)))))
    root = {"refused": (schemas.BATCH, np.zeros((1, 1, 1, len(codes)), np.int64))}
    root |= {"certificates": ("variant", ["uniform"]), "drawn": (("variant", "active"), [[True]])}
    groups = {"/": dataset.xr.Dataset(root), f"/layer_{layer}": lists}
    dataset.write({name: group.assign_coords(batch) for name, group in groups.items()}, path, record)


def as_netcdf(path, codes, layer):
    with netCDF4.Dataset(path, "w") as opened:
        group = opened.createGroup(f"layer_{layer}")
        for name, length in zip(("code", "filter", "position"), codes.shape):
            group.createDimension(name, length)
            group.createVariable(name, "i4", (name,))
        group.createVariable("activations", "f4", ("code", "filter", "position"))[:] = codes


WRITERS = {
    "named.npz": lambda path, codes, layer: np.savez(path, **{f"layer_{layer}": codes, "layer_9": codes[:1]}),
    "codes.npz": lambda path, codes, _: np.savez_compressed(path, codes=codes, other=np.zeros(3)),
    "only.npz": lambda path, codes, _: np.savez(path, anything=codes.astype(np.float32)),
    "plain.npy": lambda path, codes, _: np.save(path, codes),
    "lists.nc": as_lists,
    "dense.nc": as_netcdf,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(("layer", "shape"), [(1, SHAPE), (2, DEEP)])
def test_codes_of_every_kind_of_file_and_of_any_layer_are_the_signals(tmp_path, name, layer, shape):
    sizes = [1, 5, 0, 2, 3, 4] * 40
    codes = some(sizes, shape)
    WRITERS[name](tmp_path / name, codes, layer)
    study = config.validate(configured(tmp_path / name, layer))
    found = dataset.codes_from_dataset(drawn_from(study, tmp_path)[f"/layer_{layer}"]).to_dense()
    expected = [codes[np.isin(sizes, here)][:40] for here in ([1, 2], [3, 4, 5])]
    for replicate in found:
        np.testing.assert_allclose(replicate[0], expected, rtol=1e-6)


def test_the_files_digest_is_an_input_of_the_signals_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("mine.npz", codes=some([2] * 40))
    products = Products(Plan(config.validate(configured("mine.npz", active=[2])))).all
    naming = [path for path, product in products.items() if "../mine.npz" in product.inputs]
    assert naming == ["own/signals/it/000000.nc"]


def test_a_variant_may_bring_codes_beside_random_ones(tmp_path):
    np.save(tmp_path / "mine.npy", some([2] * 40))
    variants = {"random": {}, "mine": {"codes": str(tmp_path / "mine.npy")}}
    study = config.validate(configured("", codes=None, active=[2], variants=variants))
    found = drawn_from(study, tmp_path)
    assert found["/"]["certificates"].to_numpy().tolist() == [
        "uniform instance-uniform statistical statistical-optimised",
        "uniform instance-uniform",
    ]
    counts = dataset.codes_from_dataset(found["/layer_1"]).row_size
    assert (counts == 2).all()


def nothing(codes):
    codes[...] = 0
    return codes


def with_nan(codes):
    codes[0, 0, 0] = np.nan
    return codes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            lambda codes: codes[:, :2],
            r"has shape \(80, 2, 16\), but a code of layer 1 has shape \(4, 16\): store \(code",
        ),
        (with_nan, "hold values that are not finite"),
        (lambda codes: codes.astype(complex), "is of type .*: store real numbers"),
        (lambda codes: codes.astype(object), "holds Python objects"),
        (nothing, "holds no code with a non-zero for layer 1"),
        (
            lambda codes: codes[:45],
            "has 5 codes of 3 to 5 non-zeros, fewer than the 40 trials: set trials to 5 or less",
        ),
        (lambda codes: codes[:40], "has 0 codes of 3 to 5 non-zeros, fewer than the 40 trials: leave this number out"),
    ],
)
def test_codes_that_do_not_fit_are_refused(tmp_path, content, words):
    np.savez(tmp_path / "mine.npz", codes=content(some([2] * 40 + [5] * 40)))
    with pytest.raises(UserError, match=f"experiments.own.signals.codes, for cascade 'it': .*{words}") as refusal:
        config.validate(configured(tmp_path / "mine.npz"))
    assert "mine.npz" in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("mine.txt", b"", "give codes as .npz, .npy or .nc"),
        ("mine.npz", b"PK", "damaged or of another format"),
        ("mine.nc", b"CDF", "damaged or no netCDF"),
        ("nowhere.npz", None, "cannot be read"),
    ],
)
def test_files_that_are_none_are_refused(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        config.validate(configured(tmp_path / name))


def test_lists_that_do_not_agree_and_datasets_that_were_changed_are_refused(tmp_path):
    path = tmp_path / "mine.nc"
    as_lists(path, some([2] * 40), 1)
    with netCDF4.Dataset(path, "a") as opened:
        opened["layer_1/atom"][:] = 7
    with pytest.raises(UserError, match="not what was written"):
        codes_file.read_codes(path, 1, SHAPE)
    provenance.sidecar(path).unlink()
    with pytest.raises(UserError, match="no lists of non-zeros"):
        codes_file.read_codes(path, 1, SHAPE)
    with pytest.raises(UserError, match="no codes of layer 2: name an array 'layer_2', or 'codes'"):
        codes_file.read_codes(path, 2, SHAPE)


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        ({"support": "spread"}, "codes of a file are taken as they are: remove support"),
        ({"windows_of": "electrocardiogram"}, "taken as they are: remove windows_of"),
        ({"layer_signs": True}, "layer_signs is for random codes, not for those of a file"),
        ({"refine": 3}, "refine draws further cells, which codes of a file do not have"),
        ({"active": None, "stripe_sparsity": [2]}, "stripe_sparsity is not for codes of a file"),
    ],
)
def test_what_is_for_random_codes_is_refused(tmp_path, drawn, words):
    np.save(tmp_path / "mine.npy", some([2] * 40 + [5] * 40))
    with pytest.raises(UserError, match=words):
        config.validate(configured(tmp_path / "mine.npy", **drawn))


def test_relu_is_refused_where_codes_of_a_file_are_negative(tmp_path):
    np.save(tmp_path / "mine.npy", some([2] * 40 + [5] * 40, DEEP))
    content = configured(tmp_path / "mine.npy", 2)
    content["experiments"]["own"]["pursuits"] = {"it": {"rule": "relu", "threshold": 0.1}}
    with pytest.raises(UserError, match=r"mine\.npy have"):
        config.validate(content)
