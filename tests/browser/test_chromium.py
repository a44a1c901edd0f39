"""One failing sentence where there is no browser; the other browser tests are then left out, and this one tells why."""

from __future__ import annotations

import pytest
from chromium import MISSING, find_chromium


@pytest.mark.browser
def test_a_chromium_is_here_for_the_browser_tests() -> None:
    if find_chromium() is None:
        pytest.fail(MISSING, pytrace=False)
