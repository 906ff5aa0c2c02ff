"""Explain to the operator why PostgreSQL cannot be used and what to do about it, without showing the URL's password."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

from seneca.errors import CommandError, ConfigurationError

URL_FORM: Final = (
    "postgresql://USER:PASSWORD@HOST:PORT/DATABASE; in USER and PASSWORD percent-encode : / ? # [ ] @ and % (@ is %40)"
)
HOST_AND_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")
MIN_REDACTED_CHARACTERS: Final = 4  # redacting shorter passwords would only garble the text

CONNECTION_ADVICE: Final = {
    "password authentication failed|no password supplied": "The user name or the password is wrong.",
    r'role ".*" does not exist': "Create the role: CREATE ROLE name LOGIN PASSWORD '…'.",
    r'database ".*" does not exist': "Create the database: createdb --encoding=UTF8 --template=template0 NAME.",
    "permission denied for database": "As the database's owner: GRANT CONNECT ON DATABASE name TO role.",
    "is not permitted to log in": "As a superuser: ALTER ROLE name LOGIN.",
    "no encryption|SSL off|requires? (SSL|TLS|encryption)": "Use TLS: append ?sslmode=require or sslmode=verify-full "
    "to the URL. Or allow this role to connect without TLS in pg_hba.conf.",
    "no pg_hba.conf entry": "Add a line to PostgreSQL's pg_hba.conf that allows this role to connect from this machine to this database.",
    "does not support SSL": "The server does not use TLS: set ssl = on in PostgreSQL, or remove sslmode from the URL.",
    "certificate": "Set sslrootcert in the URL to the certificate authority's file, and use the host name in the certificate.",
    "too many (clients|connections)|connection slots": "Raise max_connections, or lower SENECA_DATABASE_CONNECTIONS or SENECA_WORKERS: "
    "docs/scaling.md.",
    "starting up|shutting down|not yet accepting|recovery": "PostgreSQL is starting or stopping. Retry in a moment.",
    "response to SSL negotiation|expected authentication request|closed the connection unexpectedly|invalid response": "Check the "
    "port: the program that listens on it is not PostgreSQL, or PostgreSQL has just stopped.",
    "Connection refused|No such file": "Nothing listens there. Start PostgreSQL, or correct the host and port.",
    "resolve|translate host name|Name or service": "There is no such host. Correct its name, or the DNS.",
    "timeout|timed out|No route to host|unreachable": "The host does not answer. Check its address and the firewall.",
}
"""Advice by error text, for failed connections: libpq reports no SQLSTATE for them."""

SQLSTATE_ADVICE: Final = {
    "3D000": "Create the database: createdb --encoding=UTF8 --template=template0 NAME.",
    "3F": "There is no schema for the tables. Run CREATE SCHEMA, or correct search_path.",
    "25006": "This server is read-only, perhaps a standby. Use the primary's address.",
    "28": "The user name or the password is wrong, or pg_hba.conf does not allow this role.",
    "40": "The transaction conflicted with others. Retry.",
    "42P07": "Another program has a table of this name in this database. Give Seneca a separate database.",
    "42": "The tables are not Seneca's, or were changed. Give Seneca a separate database, or restore a backup.",
    "53100": "The disk is full. Free space on PostgreSQL's server.",
    "53300": "Raise max_connections, or lower SENECA_DATABASE_CONNECTIONS or SENECA_WORKERS: docs/scaling.md.",
    "53": "PostgreSQL has run out of memory or other resources. See its log.",
    "55P03": "Another process holds a lock. End it, or retry.",
    "57014": "The statement took too long. Retry, or raise statement_timeout.",
    "57": "PostgreSQL is starting or stopping. Retry in a moment.",
    "58": "PostgreSQL has a problem with its files. See its log.",
    "XX": "PostgreSQL reports an internal error. See its log.",
    "08": "The connection was lost. Retry.",
}
"""Advice by SQLSTATE, or by its class, the first two characters."""

PRIVILEGE_ADVICE: Final = {
    "must be owner": "Run seneca migrate once as the role that owns the tables, or: REASSIGN OWNED BY that_role TO {role}.",
    "for (table|relation|sequence)": "As the tables' owner: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} "
    "TO {role};",
    "": "As the database's owner: GRANT USAGE, CREATE ON SCHEMA {schema} TO {role};",
}
"""Advice by error text, for missing privileges: the statement that grants them."""


def explain_error(error: psycopg.Error, url: str, next_step: str = "") -> CommandError:
    """The error to report, in one line: the database, what to do, and PostgreSQL's own text.

    Args:
        error: raised while connecting or migrating.
        url: the database's URL. Its password is never shown, nor anything that may be a part of it.
        next_step: what else to do.

    Returns:
        A ConfigurationError if the URL is malformed.

    """
    if error.sqlstate is None and isinstance(error, psycopg.ProgrammingError):
        parameter = re.search(r'invalid URI query parameter: "\w+"', str(error))
        reason = f" ({parameter[0]})" if parameter and not is_ambiguous(url) else ""
        return ConfigurationError(f"SENECA_DATABASE_URL is not a valid PostgreSQL URL{reason}. Its form: {URL_FORM}.")
    if is_ambiguous(url):
        return ConfigurationError(
            f"The database of SENECA_DATABASE_URL cannot be used. Check the URL's form: {URL_FORM}."
        )
    text = redact(" ".join(str(error).split()), url)
    advice = " ".join(filter(None, (advise(error, text, url), next_step)))
    return CommandError(
        f"The database {name(url)} cannot be used: {f'{advice} PostgreSQL says: ' if advice else ''}{text}"
    )


def advise(error: psycopg.Error, text: str, url: str) -> str:
    """What to do; empty if only PostgreSQL's own text helps."""
    if error.sqlstate is None:
        return next((advice for pattern, advice in CONNECTION_ADVICE.items() if re.search(pattern, text)), "")
    if error.sqlstate == "42501":
        schema = re.search(r'schema "?(\w+)', text)
        role = sql.Identifier(unquote(urlsplit(url).username or "") or "role").as_string()
        advice = next(advice for pattern, advice in PRIVILEGE_ADVICE.items() if re.search(pattern, text))
        return advice.format(role=role, schema=schema[1] if schema else "public")
    return next((SQLSTATE_ADVICE[code] for code in (error.sqlstate, error.sqlstate[:2]) if code in SQLSTATE_ADVICE), "")


def is_ambiguous(url: str) -> bool:
    """Whether the URL may be parsed wrongly, so that a part of the password would count as the host or the database's name."""
    user_and_password, _, rest = url.partition("://")[2].rpartition("@")
    try:
        urlsplit(url)
    except ValueError:
        return True
    hosts = re.split("[/?#]", rest)[0].split(",")
    return bool(re.search(r"[/?#\[\]@]", user_and_password)) or not all(map(HOST_AND_PORT.fullmatch, hosts))


def name(url: str) -> str:
    """The name of the database and its host."""
    parts = urlsplit(url)
    return f"{parts.path.removeprefix('/')} on {parts.hostname or 'this machine'}"


def public_name(url: str) -> str:
    """The database's URL without user, password and parameters; nothing of an ambiguous URL."""
    if is_ambiguous(url):
        return "of SENECA_DATABASE_URL"
    parts = urlsplit(url)
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"


def redact(text: str, url: str) -> str:
    """Replace the URL's passwords in a text."""
    query = re.findall(r"[?&]\w*password=([^&]*)", url)
    for secret in (urlsplit(url).password or "", *query):
        for variant in {secret, unquote(secret)}:
            if len(variant) >= MIN_REDACTED_CHARACTERS:
                text = text.replace(variant, "…")
    return text
