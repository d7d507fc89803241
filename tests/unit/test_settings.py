"""Settings: a bad value or an unknown variable is refused and named, never a silent default."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.errors import SettingError
from gateway.settings import PREFIX, Settings, load_settings

SECRET = "0123456789abcdef0123456789abcdef"
FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}
BAD_VALUES = {
    "PORT": ["eight", "-1", "65536", "80.5", " 80"],
    "DEV": ["maybe", "y", "2", "enabled"],
    "JWT_LEEWAY_S": ["-1", "30.1"],
    "JWT_SECRET": [SECRET[:-1]],
    "SESSION_TTL_S": ["0", "-5", "10m", "nan", "1e999"],
    "MAX_FRAME_BYTES": ["1023", "256k", "1e999"],
    "MAX_JSON_DEPTH": ["3", "257"],
    "MAX_BATCH": ["0", "many"],
    "DRAIN_WINDOW_S": ["-0.1"],
    "DURABILITY": ["none", "discs"],
    "LOG_LEVEL": ["trace", "INFOS"],
    "LOG_FORMAT": ["xml"],
    "REDIS_PREFIX": ["a:b", "{a}", "a" * 33],
    "HEARTBEAT_S": ["off"],
}


def as_text(value: object) -> str:
    """A value as an operator writes it into the environment."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


# ---------------------------------------------------------------- good


def test_empty_environment_gives_the_defaults() -> None:
    """Every setting has one, so that `gateway serve` needs none."""
    assert load_settings({}) == Settings()


def test_defaults_of_the_published_settings() -> None:
    """The numbers that the protocol's reference prints."""
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.redis_url is None
    assert (settings.session_ttl_s, settings.brief_s, settings.medium_s) == (600, 15, 120)
    assert settings.heartbeat_s == 25
    assert settings.max_frame_bytes == 262_144
    assert settings.outbox_bytes == 1_048_576
    assert settings.durability == "memory"
    assert (settings.log_max_events, settings.log_ttl_s) == (10_000, 86_400)
    assert (settings.run_lease_s, settings.run_timeout_s) == (15, 600)


@pytest.mark.parametrize(
    "name", [name for name, field in FIELDS.items() if field.default is not None]
)
def test_every_default_can_be_written_as_a_variable(name: str) -> None:
    """What a variable says is read into the type of its field."""
    text = as_text(FIELDS[name].default)
    assert load_settings({PREFIX + name.upper(): text}) == Settings()


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.default is None])
def test_every_optional_setting_can_be_given_as_a_variable(name: str) -> None:
    """They are all texts; `null` and numbers are taken as written."""
    for text in (SECRET, "null " + SECRET, "1" * 32):
        assert getattr(load_settings({PREFIX + name.upper(): text}), name) == text


def test_names_carry_their_unit() -> None:
    """`_s` is seconds, and may have a fraction; `_bytes` is whole bytes."""
    for name, field in FIELDS.items():
        if name.endswith("_s"):
            assert isinstance(field.default, float), name
        if name.endswith("_bytes"):
            assert isinstance(field.default, int), name


def test_numbers_are_read() -> None:
    """A whole number of seconds is fine."""
    settings = load_settings(
        {"GATEWAY_PORT": "0", "GATEWAY_BRIEF_S": "2", "GATEWAY_MEDIUM_S": "2.5"}
    )
    assert settings.port == 0
    assert (settings.brief_s, settings.medium_s) == (2.0, 2.5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, True) for text in ("true", "True", "1", "yes", "ON")),
        *((text, False) for text in ("false", "FALSE", "0", "no", "Off")),
    ],
)
@pytest.mark.parametrize("name", ["DEV", "OPENAI_STREAM"])
def test_facts_are_read(name: str, text: str, expected: bool) -> None:  # a parameter of pytest
    """`true`, `yes`, `on` and `1`; `false`, `no`, `off` and `0`; in any case."""
    assert getattr(load_settings({PREFIX + name: text}), name.lower()) is expected
    assert getattr(load_settings({}, **{name.lower(): text}), name.lower()) is expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("LOG_LEVEL", "INFO", "info"),
        ("LOG_LEVEL", "Warning", "warning"),
        ("LOG_FORMAT", "JSON", "json"),
        ("DURABILITY", "Disk", "disk"),
        ("TRANSPORT", "FAST", "fast"),
    ],
)
def test_choices_are_read_in_any_case(name: str, text: str, expected: str) -> None:
    """Python's own names of log levels are upper case."""
    assert getattr(load_settings({PREFIX + name: text}), name.lower()) == expected
    assert getattr(load_settings({}, **{name.lower(): text}), name.lower()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://a.example", ("https://a.example",)),
        ("https://a.example, https://b.example", ("https://a.example", "https://b.example")),
        (" a ,, b,", ("a", "b")),
        ("null,*", ("null", "*")),
    ],
)
def test_lists_are_separated_by_commas(text: str, expected: tuple[str, ...]) -> None:
    """Blanks around an item and empty items are dropped."""
    assert load_settings({"GATEWAY_ALLOWED_ORIGINS": text}).allowed_origins == expected


@pytest.mark.parametrize("name", ["PORT", "JWT_SECRET", "DATA_DIR", "DEV", "LOG_LEVEL", "HANDLERS"])
def test_empty_variable_means_not_set(name: str) -> None:
    """This is how compose files pass on what the operator has not set."""
    assert load_settings({PREFIX + name: ""}) == Settings()


def test_flag_wins_over_the_environment() -> None:
    """A flag that was not given is None, and does not."""
    environ = {"GATEWAY_PORT": "1", "GATEWAY_HOST": "a", "GATEWAY_DEV": "true"}
    settings = load_settings(environ, port=2, host=None, dev=False)
    assert (settings.port, settings.host, settings.dev) == (2, "a", False)


def test_variables_of_others_are_not_read() -> None:
    """Only what begins with the prefix."""
    assert load_settings({"PORT": "x", "MY_GATEWAY_PORT": "x", "gateway_port": "x"}) == Settings()


def test_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line passes none."""
    monkeypatch.setenv("GATEWAY_PORT", "4321")
    assert load_settings().port == 4321


def test_settings_do_not_change() -> None:
    """They are read once."""
    with pytest.raises(AttributeError):
        load_settings({}).port = 1


def test_data_path_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Relative to where the gateway was started; `~` is understood."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    assert load_settings({}).data_path == tmp_path / "gateway-data"
    assert load_settings({"GATEWAY_DATA_DIR": "~/x"}).data_path == Path("/home/ann/x")
    assert load_settings({"GATEWAY_DATA_DIR": "/var/lib/x"}).data_path == Path("/var/lib/x")


def test_silence_limit_is_a_heartbeat_and_its_timeout() -> None:
    """After both a client that says nothing is gone."""
    settings = load_settings({"GATEWAY_HEARTBEAT_S": "3", "GATEWAY_HEARTBEAT_TIMEOUT_S": "1.5"})
    assert settings.silence_limit_s == 4.5


# ---------------------------------------------------------------- bad


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in BAD_VALUES.items() for text in texts]
)
def test_bad_value_is_named(name: str, text: str) -> None:
    """The variable, and what is wrong with it; as a sentence, without a traceback."""
    with pytest.raises(SettingError) as caught:
        load_settings({PREFIX + name: text})
    assert caught.value.name == PREFIX + name
    assert str(caught.value) == f"{PREFIX}{name}: {caught.value.problem}"
    assert caught.value.problem


@pytest.mark.parametrize("name", sorted(BAD_VALUES))
def test_bad_flag_is_named_as_its_variable(name: str) -> None:
    """One name for a setting, wherever it comes from."""
    with pytest.raises(SettingError) as caught:
        load_settings({}, **{name.lower(): BAD_VALUES[name][0]})
    assert caught.value.name == PREFIX + name


@pytest.mark.parametrize(
    "name", ["GATEWAY_PROT", "GATEWAY_port", "GATEWAY_", "GATEWAY_JWT_SECRET_"]
)
def test_unknown_variable_is_named(name: str) -> None:
    """A typing error must not become a default."""
    with pytest.raises(SettingError, match="no such setting") as caught:
        load_settings({name: "1"})
    assert caught.value.name == name


def test_bad_secret_is_not_repeated() -> None:
    """Errors end in logs."""
    with pytest.raises(SettingError) as caught:
        load_settings({"GATEWAY_JWT_SECRET": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_secret_is_measured_in_bytes() -> None:
    """Sixteen letters of two bytes are enough, sixteen of one are not."""
    assert load_settings({"GATEWAY_JWT_SECRET": "é" * 16}).jwt_secret == "é" * 16
    with pytest.raises(SettingError, match="32 bytes"):
        load_settings({"GATEWAY_JWT_SECRET": "e" * 16})


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"BRIEF_S": "200"}, "BRIEF_S"),
        ({"MAX_CONTENT_BYTES": "300000"}, "MAX_CONTENT_BYTES"),
        ({"DURABILITY": "replicated"}, "DURABILITY"),
        ({"JWT_SECRET": SECRET, "JWKS_URL": "https://keys.example"}, "JWKS_URL"),
        ({"JWT_PUBLIC_KEY": "key.pem", "JWKS_URL": "https://keys.example"}, "JWKS_URL"),
    ],
)
def test_settings_that_contradict_each_other_are_named(environ: dict[str, str], name: str) -> None:
    """Each is good alone; the error names one and tells of the other."""
    with pytest.raises(SettingError, match=PREFIX) as caught:
        load_settings({PREFIX + key: text for key, text in environ.items()})
    assert caught.value.name == PREFIX + name


def test_secrets_are_not_in_the_representation():
    """A settings object in a log line or traceback gives nothing away."""
    settings = load_settings(
        {PREFIX + "JWT_SECRET": SECRET, PREFIX + "REDIS_URL": "redis://:hunter2@localhost"}
    )
    assert SECRET not in repr(settings)
    assert "hunter2" not in repr(settings)


def test_infinite_time_is_refused():
    """A time that never ends cannot be turned into milliseconds."""
    with pytest.raises(SettingError, match="SESSION_TTL_S"):
        load_settings({PREFIX + "SESSION_TTL_S": "inf"})


def test_bad_choice_lists_the_good_ones():
    """So does a fact that is neither true nor false."""
    with pytest.raises(SettingError, match="debug, info, warning, error"):
        load_settings({PREFIX + "LOG_LEVEL": "trace"})
    with pytest.raises(SettingError, match="true, yes, on, 1, false, no, off, 0"):
        load_settings({PREFIX + "DEV": "maybe"})


def test_unknown_flag_is_refused():
    """A flag is checked as a variable is."""
    with pytest.raises(SettingError):
        load_settings({}, prot=1)
