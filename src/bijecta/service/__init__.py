"""One model behind HTTP: log-densities and samples, within limits. FastAPI and uvicorn are imported when used."""

from bijecta.service.app import create_app
from bijecta.service.settings import ServiceSettings

__all__ = ["ServiceSettings", "create_app"]
