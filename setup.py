"""The description of the package on an index: README.md without what works inside the repository alone."""

import re
from pathlib import Path

from setuptools import setup

README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
PICTURE = re.compile(r"!\[[^]]*\]\((?!https?:)[^)]*\)\n?")
LINK = re.compile(r"\[([^]]*)\]\((?!https?:)[^)]*\)")

setup(long_description=LINK.sub(r"\1", PICTURE.sub("", README)), long_description_content_type="text/markdown")
