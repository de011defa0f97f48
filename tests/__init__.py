"""The tests of Retrace. A package, so that no other distribution's ``tests`` can take the name."""
