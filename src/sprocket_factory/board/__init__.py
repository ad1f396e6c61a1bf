"""The templates and static files of the pages. No build step."""
