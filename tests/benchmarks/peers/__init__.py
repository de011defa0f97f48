"""The systems beside which Retrace is measured: DBOS and Restate, each with the settings that its makers recommend.

`installing` puts them into ``.peers/``, in environments of their own. What runs there is in ``programs/`` and imports
nothing of this project.
"""
