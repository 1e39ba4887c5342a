"""The Lab: watch a flow learn, live, in the browser. Started by ``bijecta app``."""
