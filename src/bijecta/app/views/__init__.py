"""The pages of the app; each has a function ``page`` that draws it.

Not called ``pages``: Streamlit takes a folder of that name beside the script for pages of its own accord.
"""
