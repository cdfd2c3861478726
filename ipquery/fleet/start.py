"""What a start looks at before there are workers, for :mod:`ipquery.tap` and ``ipquery check``."""

from pathlib import Path

from ipquery.config import Config
from ipquery.data.build import Chosen, Report, Withheld, choose_snapshot
from ipquery.data.sources import DEFAULT
from ipquery.errors import ConfigError
from ipquery.net.tls import expiry_warnings
from ipquery.serve.http.settings import AccessLogSettings


def check_databases(config: Config) -> None:
    """Look that a database is named.

    :raises ConfigError: none is.
    """
    if not config.databases:
        raise ConfigError(
            "no database configured; name one with --db FILE or in the configuration; "
            f"--db {DEFAULT} is one, once `pip install 'ipquery[default-data]'` got it"
        )


def check_access_log(settings: AccessLogSettings | None) -> None:
    """Look that the access log can be written.

    The workers open it; what is wrong with it is better said before they start.

    :raises ConfigError: it can't.
    """
    if settings is None or settings.is_output:
        return
    path = Path(settings.path)
    try:
        path.open("a").close()
    except OSError as error:
        raise ConfigError(f"{path}: can't write this access log: {error.strerror}") from None


def build_snapshot(config: Config, report: Report) -> Chosen:
    """What the workers answer from: built, or found in the cache folder, and verified.

    :raises DataError: a database, a list or the cache folder can't be used.
    """
    return choose_snapshot(
        config.databases,
        config.cache_dir,
        report,
        config.codes,
        config.build_limits,
        config.blend,
        config.elsewhere,
    )


def how_withheld(one: Withheld) -> str:
    """What is said of a snapshot that isn't served."""
    return (
        f"{one.name} is withheld ({one.why}); answering from {one.instead}; `ipquery accept` and a "
        "reload let it through"
    )


def warnings(config: Config, now: float) -> list[str]:
    """A line for each thing that is amiss, and with which it starts all the same.

    :param now: seconds since the epoch.
    """
    lines = [database.notice for database in config.databases if database.notice]
    settings = config.settings
    if settings.cache.redis and settings.cache.scope == "fallback" and not settings.fallback:
        lines.append(
            "a cache is named, but nothing is kept in it: it is for what remote sources say, "
            "and there is no [[fallback]]"
        )
    return lines + expiry_warnings(config.tls, now)
