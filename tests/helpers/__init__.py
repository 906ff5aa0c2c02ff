"""What the tests share: servers, accounts, commands, engines, assertions."""

import pytest

MODULES = ("accounts", "assertions", "erasure", "exchange", "ledger", "load", "server", "wire")
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in MODULES))  # so that a failure shows the values
