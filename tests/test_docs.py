"""The documents say what is so: settings, commands, routes, codes, dependencies; README's commands run."""

import re
import subprocess
import tomllib
from pathlib import Path

import httpx
import pytest
from bench.capacity import Assumed, tables
from playwright.sync_api import sync_playwright

from seneca import errors
from seneca.app import ROUTES
from seneca.errors import Refusal
from seneca.settings import Settings, variable
from tests.conftest import Server, free_port, running, seneca

pytestmark = pytest.mark.no_database  # it asks none

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
README = (ROOT / "README.md").read_text()
IN_THE_SHELL_ONLY = {"unusable", "figures-differ"}


def first_cells(heading: str) -> list[str]:
    """The first cell of each row of the table under a heading."""
    section = REFERENCE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [row.split("|")[1].strip().strip("`") for row in section.splitlines() if row.startswith("| `")]


def test_every_setting_is_documented_and_no_other():
    assert first_cells("Settings") == [variable(name) for name in Settings.__struct_fields__]


def commands(*group: str) -> set[str]:
    listed = seneca(*group, "--help").stdout.split("Commands:")[1].splitlines()
    return {" ".join([*group, line.split()[0]]) for line in listed if re.match(r"  \S", line)}


def test_every_command_is_documented_and_no_other():
    documented = {re.match(r"seneca ((?:admin |stats )?[\w-]+)", cell)[1] for cell in first_cells("Commands")}
    groups = {"admin", "stats"}
    assert documented == (commands() - groups) | commands("admin") | commands("stats")


def test_every_route_is_documented_and_no_other():
    routes = {
        f"{method} {next(iter(route.paths)).replace(':str', '')}" for route in ROUTES for method in route.http_methods
    }
    assert set(first_cells("Routes")) == routes | {"GET /openapi.json", "GET /docs"}


def test_every_code_is_documented_and_no_other():
    section = REFERENCE.split("\n## Refusals\n")[1]
    documented = set(re.findall(r"^\| \d{3} \| `([a-z-]+)` \|", section, re.MULTILINE))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Refusal)]
    assert documented == {
        code for kind in kinds if kind is not Refusal for code in kind.titles()
    } - IN_THE_SHELL_ONLY | {"bug"}


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in declared}
    text = (ROOT / "docs" / "dependencies.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| \S[^|]+ \|$", text, re.MULTILINE)
    assert names == {name for row in rows for name in row.split(", ")} - {"package", "---"}


@pytest.mark.parametrize(
    "document", [p.relative_to(ROOT) for p in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]], ids=str
)
def test_links_lead_somewhere(document: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text()):
        if not target.startswith("https://"):
            assert (ROOT / document).parent.joinpath(target).exists(), target


def blocks(language: str) -> list[str]:
    tour = README.split("## A two-minute tour")[1]
    return re.findall(rf"```{language}\n(.*?)```", tour, re.DOTALL)


def test_the_capacity_model_is_what_its_script_computes():
    assert f"<!-- capacity -->\n{tables(Assumed())}\n<!-- /capacity -->" in (ROOT / "docs" / "scaling.md").read_text()


def test_the_tour_of_the_readme_runs(tmp_path: Path):
    with running(tmp_path / "var") as server:
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


def test_make_run_serves_demo_data(tmp_path: Path):
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["make", "--no-print-directory", "run", f"DATA={tmp_path}/var", f"PORT={port}"],
            cwd=ROOT,
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
    finally:
        process.terminate()
        process.wait(timeout=40)


def test_the_documentation_page_works_in_a_browser_with_nothing_from_elsewhere(server: Server):
    asked: list[str] = []
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(f"{server.url}/docs")
        page.get_by_role("link", name="PUT /session/updateSession").click()
        section = page.locator("#sessions_update")
        assert section.is_visible()
        assert "session-ended" in section.inner_text()
        assert page.locator("nav").evaluate("e => getComputedStyle(e).position") == "sticky"
        browser.close()
    assert all(url.startswith(server.url) for url in asked), asked
    assert said == []
