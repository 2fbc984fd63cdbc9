"""Settings: safe without a file, strict with one, and the environment has the last word."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from potluck import catalog, config
from potluck.config import Settings
from potluck.errors import ConfigError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "potluck.toml"
    path.write_text(text)
    return path


def test_nothing_said_is_the_safe_thing_said() -> None:
    settings = config.load(None, {})
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 4711, 1)
    assert settings.never_bill
    assert not settings.record_prompts
    assert settings.cors_origins == settings.allowed_hosts == settings.anonymous_providers == ()
    assert settings.max_body_bytes == 32 * 1024 * 1024
    assert settings.home.name == "potluck"
    assert settings.provider_directories == ()


def test_the_template_loads_and_changes_nothing(tmp_path: Path) -> None:
    assert config.load(written(tmp_path, config.template()), {}) == Settings()


def test_the_template_names_every_setting_at_its_default(tmp_path: Path) -> None:
    """Uncommented, the template is a valid file; only its examples differ from the defaults."""
    rows = [row.removeprefix("# ") for row in config.template().splitlines()]
    kept = [row for row in rows if "=" in row.split("#")[0] or row.startswith("[")]
    text = "\n".join(row for row in kept if not row.startswith("A variable"))
    settings = config.load(written(tmp_path, text), {})
    said = tomllib.loads(text)
    assert set(said) == {field.encode_name for field in msgspec.structs.fields(Settings)}
    assert set(said["timeouts"]) == set(config.Timeouts.__struct_fields__)
    assert set(said["local"]) == set(config.Local.__struct_fields__)
    assert set(said["providers"]["openrouter"]) == set(config.Provider.__struct_fields__)
    assert set(said["profiles"]["home"]) == set(config.Profile.__struct_fields__)
    assert msgspec.structs.replace(settings, providers={}, profiles={}) == Settings()


def test_a_file_is_read(tmp_path: Path) -> None:
    settings = config.load(
        written(
            tmp_path,
            'port = 80\nproviders_dir = "~/mine"\n[timeouts]\nstall = 5\n[local]\nthreads = 3\n'
            '[providers.openrouter]\nplan = "credits"\nsigned_up = 2026-01-31\n'
            '[profiles.careful]\nstages = ["cache"]\nmin_quality = 4\n',
        ),
        {},
    )
    assert (settings.port, settings.timeouts.stall, settings.local.threads) == (80, 5.0, 3)
    assert settings.providers["openrouter"].signup == 1769817600.0  # 2026-01-31T00:00Z
    assert settings.profiles["careful"].stages == ("cache",)
    assert settings.provider_directories == (Path.home() / "mine",)


def test_the_settings_of_a_provider_choose_its_targets(tmp_path: Path) -> None:
    path = written(tmp_path, '[providers.openrouter]\nplan = "credits"\n[providers.groq]\nenabled = false\n')
    found = catalog.targets(
        catalog.load(),
        {"OPENROUTER_API_KEY": "k", "GROQ_API_KEY": "k"},
        choices=config.load(path, {}).providers,
    )
    assert {target.provider for target in found} == {"openrouter"}
    assert 1000 in {quota.amount for quota in found[0].quotas}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("prot = 80\n", 1, "unknown key 'prot'; did you mean 'port'?"),
        ("\n[timeouts]\nstal = 5\n", 3, "did you mean 'stall'?"),
        ("[timeouts]\nconnect = 0\n", 2, "connect: expected float > 0"),
        ("[timeouts]\ntotal = 3\n", 2, "shorter than first_token"),
        ('port = "80"\n', 1, "port: expected int, got str"),
        ("port = 70000\n", 1, "port: expected int <= 65535"),
        ("workers = 0\n", 1, "workers: expected int >= 1"),
        ('log_level = "warn"\n', 1, "unknown log_level 'warn'; did you mean 'warning'?"),
        ('cors_origins = [\n  "https://a.example",\n  "*",\n]\n', 3, 'may not be "*"'),
        ('cors_origins = ["a.example"]\n', 1, "is not an origin"),
        ('[providers.groq]\nkey = "gsk_x"\n', 2, "unknown key 'key'"),
        ('[providers.groq]\nkey_env = "gsk-x/y"\n', 2, "never the key itself"),
        ('[providers.groq]\n[providers.mine]\nbase_url = "ftp://x"\n', 3, "https://"),
        ("[profiles.a]\n[profiles.b]\nmin_qality = 1\n", 3, "did you mean 'min_quality'?"),
        ("[profiles.a]\nmin_quality = 6\n", 2, "min_quality: expected int <= 5"),
        ("port = \n", 1, "this is not TOML"),
    ],
)
def test_a_mistake_is_refused_on_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(written(tmp_path, text), {})
    assert f"potluck.toml:{line}: " in str(caught.value)
    assert words in str(caught.value)


def test_the_environment_has_the_last_word(tmp_path: Path) -> None:
    path = written(tmp_path, "port = 80\nworkers = 2\n[timeouts]\nstall = 5\ntotal = 99\n")
    environ = {
        "POTLUCK_PORT": "81",
        "POTLUCK_TIMEOUTS_STALL": "6.5",
        "POTLUCK_NEVER_BILL": "false",
        "POTLUCK_ANONYMOUS_PROVIDERS": "ovh, llm7,",
        "POTLUCK_CONFIG": "ignored",
        "PATH": "/bin",
    }
    settings = config.load(path, environ)
    assert (settings.port, settings.workers, settings.never_bill) == (81, 2, False)
    assert (settings.timeouts.stall, settings.timeouts.total) == (6.5, 99.0)
    assert settings.anonymous_providers == ("ovh", "llm7")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("POTLUCK_PROT", "1", "unknown variable POTLUCK_PROT; did you mean 'POTLUCK_PORT'?"),
        ("POTLUCK_PORT", "eighty", "POTLUCK_PORT: "),
        ("POTLUCK_LOCAL_CONTEXT", "0", "POTLUCK_LOCAL_CONTEXT: "),
        ("POTLUCK_RECORD_PROMPTS", "perhaps", "POTLUCK_RECORD_PROMPTS: "),
        ("POTLUCK_CORS_ORIGINS", "https://a.example,*", 'POTLUCK_CORS_ORIGINS: cors_origins may not be "*"'),
    ],
)
def test_a_mistake_in_the_environment_is_refused_by_name(name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(None, {name: value})
    assert words in str(caught.value)
