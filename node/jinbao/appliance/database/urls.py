"""The name of a zone's database: a URL as a setting gives it, and as people may see it. Opens nothing."""

from __future__ import annotations

import sqlalchemy as sa

from jinbao.model.errors import JinbaoError, SettingsError
from jinbao.model.zone import Zone

PATIENCE = "connect_timeout"
"""libpq's word for how long a connection is waited for, in seconds."""


def setting_of(zone: Zone) -> str:
    """The setting that names a zone's database."""
    return f"zones.{zone}.database"


def database_url(text: str, thing: str, refusal: type[JinbaoError] = SettingsError) -> sa.URL:
    """A zone database's URL as `thing` gives it; raises `refusal` for what is none of ours."""
    expected = "postgresql+psycopg://ROLE@HOST/DATABASE or sqlite:////FILE"
    try:
        url = sa.make_url(text)
        kind = (url.get_backend_name(), url.get_driver_name())
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError) as exc:
        raise refusal(thing, expected=expected, got="another text") from exc
    if kind not in {("postgresql", "psycopg"), ("sqlite", "pysqlite")} or not url.database:
        raise refusal(thing, expected=expected, got=shown(url))
    return url


def shown(url: sa.URL) -> str:
    """A database's URL without its password, and without how long we wait for it."""
    return url.difference_update_query([PATIENCE]).render_as_string(hide_password=True)
