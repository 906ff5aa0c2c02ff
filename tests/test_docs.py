"""The documents say what is so: settings, commands, routes, codes, dependencies; README's commands run."""

import importlib
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Literal

import httpx
import pytest
import typer
from bench import postgres
from bench.capacity import Assumed, tables
from playwright.sync_api import sync_playwright

from seneca import errors
from seneca.app import ROUTES
from seneca.cli import app
from seneca.errors import ApiError
from seneca.settings import Settings, variable
from tests.helpers.commands import seneca
from tests.helpers.engines import free_port
from tests.helpers.server import Server, running

pytestmark = pytest.mark.no_database  # it asks none

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
README = (ROOT / "README.md").read_text()
BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
IN_THE_SHELL_ONLY = {"command-failed"}


def first_cells(heading: str) -> list[str]:
    """The first cell of each row of the table under a heading."""
    section = REFERENCE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [row.split("|")[1].strip().strip("`") for row in section.splitlines() if row.startswith("| `")]


def test_every_setting_is_documented_and_no_other():
    assert first_cells("Settings") == [variable(name) for name in Settings.__struct_fields__]


def test_an_option_is_a_setting_or_documented_as_of_one_command_only():
    section = REFERENCE.split("\nOptions that apply")[1].split("\n\n")[0]
    of_one_command = set(re.findall(r"`(--[\w-]+)`", section))
    commands = typer.main.get_command(app).commands.values()  # type: ignore[attr-defined] a group
    leaves = [leaf for command in commands for leaf in getattr(command, "commands", {"": command}).values()]
    options = [option for leaf in leaves for option in leaf.params if option.param_type_name == "option"]
    assert len(options) > 30
    settings = {variable(name) for name in Settings.__struct_fields__}
    assert {option.envvar for option in options if option.envvar} <= settings
    assert {option.opts[0] for option in options if not option.envvar} == of_one_command


def commands(*group: str) -> set[str]:
    listed = seneca(*group, "--help").stdout.split("Commands:")[1].splitlines()
    return {" ".join([*group, line.split()[0]]) for line in listed if re.match(r"  \S", line)}


def test_every_command_is_documented_and_no_other():
    documented = {
        re.match(r"seneca ((?:admin |stats )?[\w-]+)", cell)[1]
        for cell in first_cells("Commands")
        if "--version" not in cell
    }
    groups = {"admin", "stats"}
    assert documented == (commands() - groups) | commands("admin") | commands("stats")


def test_every_route_is_documented_and_no_other():
    routes = {f"{endpoint.method} {endpoint.path}" for endpoint in ROUTES}
    assert set(first_cells("Routes")) == routes | {"GET /openapi.json", "GET /docs"}


def documented_codes() -> set[str]:
    section = REFERENCE.split("\n## Errors\n")[1]
    return set(re.findall(r"^\| \d{3} \| `([a-z-]+)` \|", section, re.MULTILINE))


def test_every_code_is_documented_and_no_other():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ApiError)]
    assert documented_codes() == {
        code for kind in kinds if kind is not ApiError for code in kind.titles()
    } - IN_THE_SHELL_ONLY | {"internal-error"}


def test_the_documentation_page_has_every_code(server: Server):
    page = httpx.get(f"{server.url}/docs").text
    assert {code for code in documented_codes() if f'id="{code}"' not in page} == set()


def test_troubleshooting_names_only_what_the_program_says():
    text = (ROOT / "docs" / "troubleshooting.md").read_text().split("## Log lines that need")[1]
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    said = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(said) > 10
    for part in (part for cell in said for part in re.split(r"SENECA_…|…|3000 on 127.0.0.1|\.$", cell)):
        assert part.strip(" ,.") in source, part


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in declared}
    text = (ROOT / "docs" / "dependencies.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| \S[^|]+ \|$", text, re.MULTILINE)
    assert names == {name for row in rows for name in row.split(", ")} - {"package", "---"}


def anchors(page: Path) -> set[str]:
    """What links may name of a page: its headings, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """The links of a document to files and headings that do not exist."""
    broken = []
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            file = page.parent.joinpath(path) if path else page
            if not file.exists() or (anchor and anchor not in anchors(file)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    return broken


def test_links_lead_somewhere():
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "tests" / "README.md"]
    assert len(documents) > 20
    assert [link for page in documents for link in broken_links(page)] == []


def blocks(language: str) -> list[str]:
    tour = README.split("## A two-minute tour")[1]
    return re.findall(rf"```{language}\n(.*?)```", tour, re.DOTALL)


def test_the_capacity_model_is_what_its_script_computes():
    assert f"<!-- capacity -->\n{tables(Assumed())}\n<!-- /capacity -->" in (ROOT / "docs" / "scaling.md").read_text()


def test_benchmarks_use_statements_that_exist():
    for file in (ROOT / "bench").glob("*.py"):
        if file.stem != "__main__":
            importlib.import_module(f"bench.{file.stem}")
    assert "UPDATE sessions SET" in postgres.script()


def test_the_tour_of_the_readme_runs(tmp_path: Path):
    with running(tmp_path / "seneca-data") as server:
        script = "\n".join(blocks("sh")).replace("http://127.0.0.1:3000", server.url)
        script = script.replace(".venv/bin/", f"{ROOT}/.venv/bin/")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert blocks("json")[0].strip() in done.stdout
    assert (tmp_path / "everything.jsonl.gz").exists()


@pytest.mark.parametrize("way", ["environment", "arguments"])
def test_make_run_serves_demo_data(tmp_path: Path, way: str):
    port = free_port()
    values = {"DATA": f"{tmp_path}/data", "PORT": str(port)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["make", "--no-print-directory", "run", *(f"{k}={v}" for k, v in values.items() if way == "arguments")],
            cwd=ROOT,
            env=os.environ | {f"SENECA_{k}": v for k, v in values.items() if way == "environment"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        transport = httpx.HTTPTransport(retries=0)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport) as client:
            for _ in range(300):
                try:
                    answer = client.get("/course/Mathematics%20-%20GCSE")
                    break
                except httpx.TransportError:
                    assert process.poll() is None, (tmp_path / "log").read_text()
                    subprocess.run(["sleep", "0.1"], check=True)
            assert answer.json()["id"] == "9e263811-0cfb-45f0-a0f9-c155c916dfed"
        assert (tmp_path / "data" / "seneca.db").exists()
    finally:
        process.terminate()
        process.wait(timeout=40)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_the_documentation_page_fits_and_is_free_of_markup(
    server: Server, scheme: Literal["light", "dark"], width: int
):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=BROWSER)
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.goto(server.url)
        assert page.url == f"{server.url}/docs"
        text = page.locator("body").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        background = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
        browser.close()
    assert background == "light dark"
    assert "`" not in text
    for subject in ("Authorization: Bearer TOKEN", 'rel="next"', "application/problem+json", "(CORS)", "Retry-After"):
        assert subject in text


def test_the_documentation_page_works_in_a_browser_with_nothing_from_elsewhere(server: Server):
    requested_urls: list[str] = []
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=BROWSER)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.on("request", lambda request: requested_urls.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(f"{server.url}/docs")
        page.get_by_role("link", name="PUT /session/updateSession").click()
        section = page.locator("#sessions_update")
        assert section.is_visible()
        assert "session-ended" in section.inner_text()
        assert page.locator("nav").evaluate("e => getComputedStyle(e).position") == "sticky"
        browser.close()
    assert all(url.startswith(server.url) for url in requested_urls), requested_urls
    assert said == []
