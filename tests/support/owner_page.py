"""app.py with the owner's page, of a collection that the test has filled.

Takes the arguments of app.py.
"""

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


def routes(service):
    from lineup.features.feedback import feature, review_page

    return review_page.routes(service, feature.of(service))


if __name__ == "__main__":
    from lineup.features import FEATURES, Feature

    FEATURES["feedback"] = Feature("feedback", routes="owner_page:routes")
    runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
