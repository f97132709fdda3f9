"""catcherctl: the administrator's commands."""
