"""What all tests share."""

import pytest

from project import Project


@pytest.fixture()
def project(tmp_path):
    """An empty directory of a user."""
    return Project(tmp_path / "project")
