"""Lets the tests of all folders read pictures: pytest puts this folder on the path."""
