"""The original: its card is learnt once, and again when anything that its build read has changed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from suite import runtimes
from suite.cache import Cache, sha256_file
from suite.errors import CaseError, OtherModel
from suite.feeds import Feed
from suite.original import Original
from suite.record import Stage, Status
from suite.runtimes import Pool
from suite.spec import ModelSpec
from tests.meta.conftest import Subject

PARAMETERS = 3 * 3 * 3 * 16 + 16 + 3 * 3 * 16 + 16 + 5 * 5 * 16 * 10 + 10  # of the classifier

# Models without Keras, so that each of these runs takes half a second.
FIXTURE = """
from pathlib import Path
import numpy as np
from suite.spec import ModelSpec
from tests.meta.tiny import Fake
import its_helper

def build(weights):
    value = np.load(Path(__file__).with_name("weights.npy"))[0]
    with open(Path(__file__).with_name("labels.txt")) as labels:
        name = labels.read()
    return Fake(value + its_helper.BIAS, name + weights)

SPEC = ModelSpec(build=build)
"""


@pytest.fixture
def fixture(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "model.py").write_text(FIXTURE)
    (folder / "its_helper.py").write_text("BIAS = 1.0\n")
    (folder / "labels.txt").write_text("cat, dog")
    np.save(folder / "weights.npy", np.array([2.0], np.float32))
    return folder / "model.py"


@pytest.fixture
def run(fixture: Path, cache: Cache) -> Iterator[Callable[..., tuple[str, bool]]]:
    """One run: the content of the model, and whether it had to be built."""
    pools = []

    def learn(weights: str = "offline") -> tuple[str, bool]:
        pool = Pool()
        pools.append(pool)
        runtimes.version.cache_clear()  # each run is a process of its own
        card = Original(ModelSpec(name="model", path=fixture), weights, cache, pool).card
        return card.content, bool(pool._workers)

    yield learn
    for pool in pools:
        pool.close()


def test_a_card_that_is_known_starts_no_worker(run: Callable[..., tuple[str, bool]]) -> None:
    content, built = run()
    assert built
    assert run() == (content, False)


def change_weights(folder: Path) -> None:
    np.save(folder / "weights.npy", np.array([3.0], np.float32))


CHANGES: dict[str, Callable[[Path], object]] = {
    "fixture": lambda folder: (folder / "model.py").write_text(FIXTURE.replace("value +", "value -")),
    "imported module": lambda folder: (folder / "its_helper.py").write_text("BIAS = 100.0\n"),
    "weights": change_weights,
    "text file": lambda folder: (folder / "labels.txt").write_text("dog, cat"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_build_read_makes_it_build_again(
    run: Callable[..., tuple[str, bool]], fixture: Path, change: str
) -> None:
    before, _ = run()
    CHANGES[change](fixture.parent)
    after, built = run()
    assert built
    assert after != before
    assert run() == (after, False)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, for this process and for workers."""
    folder = tmp_path / "cache" / "site-packages"  # what stands in the cache is none of the user's files
    folder.mkdir(parents=True)
    monkeypatch.setenv("POCKETPROOF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    monkeypatch.syspath_prepend(folder)
    return folder


def install(folder: Path, version: str, bias: float) -> None:
    for old in folder.glob("*.dist-info"):
        shutil.rmtree(old)
    info = folder / f"bias_layers-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: bias-layers\nVersion: {version}\n")
    (info / "top_level.txt").write_text("bias_layers\n")
    (folder / "bias_layers.py").write_text(f"BIAS = {bias}\n")


def test_an_installed_package_of_another_version_makes_it_build_again(
    run: Callable[..., tuple[str, bool]], fixture: Path, installed: Path
) -> None:
    fixture.write_text(FIXTURE.replace("import its_helper", "import bias_layers as its_helper"))
    install(installed, "1.0", 1.0)
    before, _ = run()
    assert run() == (before, False)
    install(installed, "2.0", 100.0)
    after, built = run()
    assert built
    assert after != before
    assert run() == (after, False)


@pytest.mark.parametrize("own", [True, False], ids=["own layer", "layer of a package"])
def test_other_code_of_a_custom_layer_is_another_model(
    run: Callable[..., tuple[str, bool]], fixture: Path, installed: Path, own: bool
) -> None:
    """Architecture and weights are the same: a configuration tells such a layer by its name."""
    module = "its_helper" if own else "bias_layers"
    fixture.write_text(
        FIXTURE.replace("import its_helper", f"import {module}").replace(
            "return Fake(value + its_helper.BIAS, name + weights)",
            f"""return Fake(value, '{{"module": "{module}"}}')""",
        )
    )
    install(installed, "1.0", 1.0)
    before, _ = run()
    assert run() == (before, False)
    install(installed, "2.0", 100.0)
    (fixture.parent / "its_helper.py").write_text("BIAS = 100.0\n")
    after, built = run()
    assert built
    assert after != before


@pytest.mark.parametrize("untold", [{"packages": []}, {"parameters": 0}])
def test_a_card_of_an_older_suite_which_names_no_package_or_no_parameter_is_not_believed(
    run: Callable[..., tuple[str, bool]], cache: Cache, untold: dict[str, object]
) -> None:
    content, _ = run()
    (file,) = (cache.root / "card").glob("*/card.json")
    card = json.loads(file.read_text())
    assert "numpy" in dict(card["packages"])
    file.write_text(json.dumps({**card, **untold}))
    manifest = file.with_name("entry.json")
    told = json.loads(manifest.read_text())
    told["files"]["card.json"] = sha256_file(file)
    manifest.write_text(json.dumps(told))
    assert run() == (content, True)


def test_what_a_build_did_not_read_does_not(run: Callable[..., tuple[str, bool]], fixture: Path) -> None:
    before, _ = run()
    (fixture.parent / "notes.txt").write_text("nothing")
    (fixture.parent / "other_model.py").write_text("SPEC = 1")
    assert run() == (before, False)


def test_a_file_that_is_gone_is_not_taken_for_unchanged(
    run: Callable[..., tuple[str, bool]], fixture: Path
) -> None:
    run()
    (fixture.parent / "weights.npy").unlink()
    with pytest.raises(CaseError, match=r"building model raised FileNotFoundError.*build\(\) in model\.py"):
        run()


def test_another_choice_of_weights_is_another_card(run: Callable[..., tuple[str, bool]]) -> None:
    offline, _ = run()
    published, built = run("imagenet")
    assert built
    assert published != offline
    assert run() == (offline, False)
    assert run("imagenet") == (published, False)


def test_another_checkout_is_another_card(
    run: Callable[..., tuple[str, bool]], fixture: Path, cache: Cache, pool: Pool, tmp_path: Path
) -> None:
    here, _ = run()
    copy = Path(shutil.copytree(fixture.parent, tmp_path / "copy"))
    (copy / "its_helper.py").write_text("BIAS = 100.0\n")
    there = Original(ModelSpec(name="model", path=copy / "model.py"), "offline", cache, pool).card
    assert there.content != here


def test_a_build_that_gives_another_model_each_time_is_refused(
    fixture: Path, cache: Cache, tmp_path: Path
) -> None:
    fixture.write_text(
        "import os\nfrom suite.spec import ModelSpec\nfrom tests.meta.tiny import Fake\n"
        "def build(weights):\n    return Fake(float(int.from_bytes(os.urandom(2))), weights)\n"
        "SPEC = ModelSpec(build=build)\n"
    )
    spec = ModelSpec(name="model", path=fixture)
    with contextlib.closing(Pool()) as first:
        learned = Original(spec, "offline", cache, first).card
    with contextlib.closing(Pool()) as second:
        original = Original(spec, "offline", cache, second)
        assert original.card == learned  # from the cache: nothing was built
        with pytest.raises(OtherModel, match=r"model was built twice and has other weights.*seed its build"):
            original.answers(Feed.of({"input": np.zeros((1, 1), np.float32)}))
        # The next run does not go on with the card that nothing fits any more.
        assert Original(spec, "offline", cache, second).card != learned


# --- builds that do not end well -----------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            "raise RuntimeError('no such layer')",
            r"building model raised RuntimeError: no such layer.*model\.py",
        ),
        ("return Fake(float('nan'))", "the weight fake/weight holds 1 of 1 values that are NaN"),
        ("return Fake(float('inf'))", "the weight fake/weight holds 1 of 1 values that are NaN or infinite"),
    ],
)
def test_a_model_that_cannot_be_built_is_a_failed_case(
    fixture: Path, cache: Cache, pool: Pool, build: str, words: str
) -> None:
    fixture.write_text(
        "from suite.spec import ModelSpec\nfrom tests.meta.tiny import Fake\n"
        f"def build(weights):\n    {build}\nSPEC = ModelSpec(build=build)\n"
    )
    with pytest.raises(CaseError, match=words) as caught:
        _ = Original(ModelSpec(name="model", path=fixture), "offline", cache, pool).card
    assert (caught.value.stage, caught.value.status) == (Stage.BUILD, Status.FAILED)
    assert not list((cache.root / "card").glob("*/"))


def test_a_fixture_with_neither_builder_nor_file_is_told_so(fixture: Path, cache: Cache, pool: Pool) -> None:
    fixture.write_text("from suite.spec import ModelSpec\nSPEC = ModelSpec()\n")
    with pytest.raises(CaseError, match=r"model\.py has neither build nor file"):
        _ = Original(ModelSpec(name="model", path=fixture), "offline", cache, pool).card


def test_a_model_without_any_source_is_refused(cache: Cache, pool: Pool) -> None:
    with pytest.raises(CaseError, match="neither a fixture nor a saved model"):
        Original(ModelSpec(name="model"), "offline", cache, pool)


def test_a_file_that_went_away_is_named(fixture: Path, cache: Cache, pool: Pool) -> None:
    original = Original(ModelSpec(name="model", path=fixture), "offline", cache, pool)
    fixture.unlink()
    with pytest.raises(CaseError, match=r"model\.py is not there"):
        _ = original.card


# --- real models -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nan.keras", r"the weight .*conv.*kernel holds 1 of \d+ values that are NaN"),
        ("damaged.keras", r"cannot load damaged\.keras"),
        ("no_signature", "SavedModel no_signature has no signature"),
    ],
)
def test_a_saved_model_that_is_no_reference_says_why(
    subject: Callable[[str], Subject], name: str, words: str
) -> None:
    with pytest.raises(CaseError, match=words) as caught:
        subject(name)
    assert caught.value.stage is Stage.BUILD


def test_one_model_in_every_format_gives_the_same_answers(
    subject: Callable[[str], Subject], images: np.ndarray, expected: np.ndarray
) -> None:
    for name in ("classifier.h5", "classifier_saved", "classifier_frozen"):
        original = subject(name).original
        (info,) = original.card.inputs
        (answers,) = original.answers(Feed.of({info.name: images})).values()
        np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("classifier_saved", PARAMETERS),
        ("classifier_frozen", PARAMETERS),
        ("beside_saved", 768 * 10),
    ],
)
def test_the_numbers_of_a_graph_are_counted_wherever_it_keeps_them(
    subject: Callable[[str], Subject], name: str, numbers: int
) -> None:
    assert subject(name).original.card.parameters == numbers


def test_answers_are_cached_by_model_and_feed(
    classifier: Subject, shared_cache: Cache, pool: Pool, images: np.ndarray, expected: np.ndarray
) -> None:
    cold = Original(classifier.original.spec, "offline", shared_cache, pool)
    again = cold.answers(Feed.of({"input": images}))["output"]
    np.testing.assert_array_equal(again, expected)
    assert pool._workers == {}
    assert cold.card.parameters == PARAMETERS
