"""How Sphinx builds the manual, and pydoctor the API reference inside it."""

from __future__ import annotations

import sys
from pathlib import Path

from atbus import __version__

ROOT = Path(__file__).resolve().parent.parent
# apidoc.py, which setup.cfg names to pydoctor
sys.path.insert(0, str(ROOT / "docs"))

project = "atbus"
author = "The atbus authors"
copyright = "The atbus authors"
release = __version__

extensions = ["pydoctor.sphinx_ext.build_apidocs", "sphinx.ext.intersphinx"]
source_suffix = {".rst": "restructuredtext"}
# A page that points nowhere is an error like any other (make docs turns warnings into errors).
nitpicky = True
html_theme = "furo"
html_title = f"atbus {release}"

# The rest of what pydoctor needs to know stands in setup.cfg.
pydoctor_args = [
    f"--config={ROOT / 'setup.cfg'}",
    f"--add-package={ROOT / 'atbus'}",
    f"--project-version={release}",
    f"--project-base-dir={ROOT}",
    "--html-output={outdir}/api",
]
pydoctor_url_path = "/api/"
# Filled by pydoctor with the inventory it has just made; nothing is fetched.
intersphinx_mapping: dict[str, tuple[str, tuple[str | None, ...]]] = {}
