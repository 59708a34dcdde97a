"""What a bundle replaces, and what it never does."""

from dataclasses import replace
from pathlib import Path

import pytest

from model import bundle as bundles
from model.bundle import Bundle
from model.errors import ConfigError
from model.place import put, rewritten
from model.runtime.fake import write_fake_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_fake_bundle(tmp_path / "made")


def test_a_bundle_takes_another_one_s_place_and_what_a_killed_process_left_is_cleared(
    bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("weights") / "small"
    put(bundle.path, place)
    (place / "stray").write_text("?")
    for word in ("new", "old"):
        (place.parent / f".small.{word}" / "half").mkdir(parents=True)

    put(bundle.path, place)

    assert bundles.verify(bundles.read(place)) == ()
    assert [path.name for path in place.parent.iterdir()] == ["small"]


@pytest.mark.parametrize(
    ("files", "held"),
    [
        (["photo.jpg"], "photo.jpg"),
        (["birds/manifest.json"], "birds"),
        (["manifest.json"], "manifest.json"),  # anyone's may be called so
    ],
)
def test_what_is_no_bundle_is_never_replaced_by_one(
    bundle: Bundle,
    tmp_path_factory: pytest.TempPathFactory,
    files: list[str],
    held: str,
) -> None:
    place = tmp_path_factory.mktemp("own") / "weights"
    for name in files:
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text("{}")

    with pytest.raises(ConfigError, match=f"holds {held}, which would be deleted"):
        put(bundle.path, place)

    assert [path.name for path in place.parent.iterdir()] == ["weights"]
    assert [(place / name).read_text() for name in files] == ["{}"]


def test_a_bundle_with_a_folder_in_it_is_not_replaced(
    bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("weights") / "small"
    put(bundle.path, place)
    (place / "runs").mkdir()

    with pytest.raises(ConfigError, match="holds runs"):
        put(bundle.path, place)

    assert (place / "runs").is_dir()


def test_a_file_is_not_replaced_by_a_bundle_but_an_empty_folder_is(
    bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    (folder / "file").write_text("mine")
    (folder / "empty").mkdir()

    with pytest.raises(ConfigError, match="is no folder"):
        put(bundle.path, folder / "file")
    put(bundle.path, folder / "empty")

    assert (folder / "file").read_text() == "mine"
    assert bundles.read(folder / "empty").sha256 == bundle.sha256


@pytest.mark.parametrize("place", [".", "..", "/"])
def test_a_bundle_never_takes_the_place_of_the_folder_that_one_is_in(
    bundle: Bundle,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    inside = tmp_path_factory.mktemp("outer") / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)

    with pytest.raises(ConfigError, match="the folder that you are in"):
        put(bundle.path, Path(place))

    assert inside.is_dir()


def test_behind_a_link_the_bundle_that_it_points_to_is_replaced(
    bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    put(bundle.path, folder / "second")
    (folder / "current").symlink_to("second")
    newer = bundles.write(bundle.path, replace(bundle.manifest, gamma=2.0), bundle.classes)

    put(newer.path, folder / "current")

    assert (folder / "current").readlink() == Path("second")
    assert bundles.read(folder / "second").sha256 == newer.sha256
    assert sorted(path.name for path in folder.iterdir()) == ["current", "second"]


def test_a_bundle_is_changed_as_a_whole_or_not_at_all(bundle: Bundle) -> None:
    changed = replace(bundle.manifest, gamma=2.0)
    (bundle.path.parent / ".made.new" / "half").mkdir(parents=True)
    link = bundle.path.with_name("link")
    link.symlink_to(bundle.path)

    def change_and_die() -> None:
        with rewritten(link) as new:
            bundles.write(new, changed, bundle.classes[:1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        change_and_die()
    assert bundles.read(bundle.path).sha256 == bundle.sha256
    with rewritten(link) as new:
        written = bundles.write(new, changed, bundle.classes[:1])
        assert bundles.read(bundle.path).sha256 == bundle.sha256

    found = bundles.read(bundle.path)
    assert found.sha256 == written.sha256 != bundle.sha256
    assert bundles.verify(found) == ()
    assert sorted(path.name for path in bundle.path.parent.iterdir()) == ["link", "made"]
    assert link.is_symlink()
