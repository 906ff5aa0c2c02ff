"""Why a PostgreSQL database cannot be used, what PostgreSQL says, and what to do: never with the password of its URL."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

URL_FORM: Final = (
    "postgresql://USER:PASSWORD@HOST:PORT/DATABASE; in USER and PASSWORD percent-encode : / ? # [ ] @ and % (@ is %40)"
)
HOST_AND_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")
MIN_SECRET: Final = 4  # characters: replacing shorter ones would only garble the text

CONNECTING: Final = {
    "password authentication failed|no password supplied": "The user name or the password is wrong.",
    r'role ".*" does not exist': "Create the role: CREATE ROLE name LOGIN PASSWORD '…'.",
    r'database ".*" does not exist': "Create the database: createdb --encoding=UTF8 --template=template0 NAME.",
    "permission denied for database": "As the database's owner: GRANT CONNECT ON DATABASE name TO role.",
    "is not permitted to log in": "As a superuser: ALTER ROLE name LOGIN.",
    "no encryption|SSL off|requires? (SSL|TLS|encryption)": "Use TLS: append ?sslmode=require, or sslmode=verify-full, to the "
    "URL. Or have pg_hba.conf admit this role without it.",
    "no pg_hba.conf entry": "Add a line to PostgreSQL's pg_hba.conf that admits this role from this machine to this database.",
    "does not support SSL": "The server has no TLS: set ssl = on in PostgreSQL, or remove sslmode from the URL.",
    "certificate": "Set sslrootcert in the URL to the certificate authority's file, and use the host name in the certificate.",
    "too many (clients|connections)|connection slots": "Raise max_connections, or lower SENECA_DATABASE_CONNECTIONS or SENECA_WORKERS: "
    "docs/scaling.md.",
    "starting up|shutting down|not yet accepting|recovery": "PostgreSQL is starting or stopping: try again in a moment.",
    "response to SSL negotiation|expected authentication request|closed the connection unexpectedly|invalid response": "Check the "
    "port: what listens there is not PostgreSQL, or it has just stopped.",
    "Connection refused|No such file": "Nothing listens there: start PostgreSQL, or correct host and port.",
    "resolve|translate host name|Name or service": "There is no such host: correct its name, or the DNS.",
    "timeout|timed out|No route to host|unreachable": "The host does not answer: check its address and the firewall.",
}
"""What a failed connection's text says (libpq reports no SQLSTATE for those), and what to do."""

SQLSTATES: Final = {
    "3D000": "Create the database: createdb --encoding=UTF8 --template=template0 NAME.",
    "3F": "There is no schema for the tables: CREATE SCHEMA, or correct search_path.",
    "25006": "This server only reads, as a standby does: use the primary's address.",
    "28": "The user name or the password is wrong, or pg_hba.conf does not admit this role.",
    "40": "Other transactions were in the way: try again.",
    "42P07": "Another program has a table of this name here: give Seneca a database of its own.",
    "42": "The tables are not those of Seneca, or were changed: give Seneca a database of its own, or restore a backup.",
    "53100": "The disk is full: make room on PostgreSQL's server.",
    "53300": "Raise max_connections, or lower SENECA_DATABASE_CONNECTIONS or SENECA_WORKERS: docs/scaling.md.",
    "53": "PostgreSQL lacks memory or other resources: see its log.",
    "55P03": "Another process holds a lock for long: end it, or try again.",
    "57014": "It took too long: try again, or raise statement_timeout.",
    "57": "PostgreSQL is starting or stopping: try again in a moment.",
    "58": "PostgreSQL has a problem with its files: see its log.",
    "XX": "PostgreSQL found an internal fault: see its log.",
    "08": "The connection broke: try again.",
}
"""Codes, or the classes with which they begin, and what to do."""

PRIVILEGES: Final = {
    "must be owner": "Run seneca migrate once as the role that owns the tables, or: REASSIGN OWNED BY that_role TO {role}.",
    "for (table|relation|sequence)": "As the tables' owner: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} "
    "TO {role};",
    "": "As the database's owner: GRANT USAGE, CREATE ON SCHEMA {schema} TO {role};",
}
"""What a role may not do, and the statement that allows it."""


def explain(error: psycopg.Error, url: str) -> str:
    """One line for the person who runs Seneca: which database, what to do, and what PostgreSQL says.

    Args:
        error: that of connecting, or of bringing the schema up to date.
        url: the database's. Nothing that may be a part of its password is shown.

    """
    if error.sqlstate is None and isinstance(error, psycopg.ProgrammingError):
        unknown = re.search(r'invalid URI query parameter: "\w+"', str(error))
        reason = f" ({unknown[0]})" if unknown and not is_ambiguous(url) else ""
        return f"SENECA_DATABASE_URL is no URL that PostgreSQL understands{reason}. Its form: {URL_FORM}."
    if is_ambiguous(url):
        return f"The database of SENECA_DATABASE_URL cannot be used. Check the URL's form: {URL_FORM}."
    text = redact(" ".join(str(error).split()), url)
    advice = advise(error, text, url)
    return f"The database {name(url)} cannot be used: {f'{advice} PostgreSQL says: ' if advice else ''}{text}"


def advise(error: psycopg.Error, text: str, url: str) -> str:
    """What to do; empty where only PostgreSQL's own text helps."""
    if error.sqlstate is None:
        return next((advice for pattern, advice in CONNECTING.items() if re.search(pattern, text)), "")
    if error.sqlstate == "42501":
        schema = re.search(r'schema "?(\w+)', text)
        role = sql.Identifier(unquote(urlsplit(url).username or "") or "role").as_string()
        advice = next(advice for pattern, advice in PRIVILEGES.items() if re.search(pattern, text))
        return advice.format(role=role, schema=schema[1] if schema else "public")
    return next((SQLSTATES[code] for code in (error.sqlstate, error.sqlstate[:2]) if code in SQLSTATES), "")


def is_ambiguous(url: str) -> bool:
    """Whether a part of the password may stand where the host or the database's name should."""
    user_and_password, _, rest = url.partition("://")[2].rpartition("@")
    try:
        urlsplit(url)
    except ValueError:
        return True
    hosts = re.split("[/?#]", rest)[0].split(",")
    return bool(re.search(r"[/?#\[\]@]", user_and_password)) or not all(map(HOST_AND_PORT.fullmatch, hosts))


def name(url: str) -> str:
    """The database and its host."""
    parts = urlsplit(url)
    return f"{parts.path.removeprefix('/')} on {parts.hostname or 'this machine'}"


def public_name(url: str) -> str:
    """The database's URL without user, password and parameters; of a URL that may be misread, nothing."""
    if is_ambiguous(url):
        return "of SENECA_DATABASE_URL"
    parts = urlsplit(url)
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"


def redact(text: str, url: str) -> str:
    """The text, without the URL's passwords."""
    query = re.findall(r"[?&]\w*password=([^&]*)", url)
    for secret in (urlsplit(url).password or "", *query):
        for spelling in {secret, unquote(secret)}:
            if len(spelling) >= MIN_SECRET:
                text = text.replace(spelling, "…")
    return text
