"""What the README shows is what there is."""

import re
from pathlib import Path

import pytest

from rllib.config.file import find_config, load_plan
from rllib.errors import ConfigError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_config_shown_is_valid(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    (tmp_path / "my.yaml").write_text(text)
    plan = load_plan(str(tmp_path / "my.yaml"))
    assert plan.stop == {
        "env_runners/episode_return_mean": 475,
        "num_env_steps_sampled_lifetime": 200_000,
    }


def test_the_mistakes_shown_are_reported_like_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (text,) = blocks("yaml")
    wrong = text.replace("num_env_runners:", "num_workers:").replace("gamma:", "gama:")
    Path("my.yaml").write_text(wrong)
    with pytest.raises(ConfigError) as caught:
        load_plan("my.yaml")
    assert f"error: {caught.value}\n" in README


def test_the_presets_shown_exist() -> None:
    for name in re.findall(r"--config (\w+)\b(?!\.)", README):
        assert find_config(name).is_file()


def test_every_file_that_the_design_page_names_exists() -> None:
    page = (ROOT / "docs" / "design.md").read_text()
    for name in re.findall(r"`([\w/]+(?:\.py|/))`", page):
        assert (ROOT / name).exists() or (ROOT / "rllib" / name).exists(), name


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))])
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
