"""The page's server over a lake with real rows, for who asks."""

from browser_stage import Stage
from marketpulse.app.charts.desk import LiveDesk
from marketpulse.query.desk import LakeDesk
from marketpulse.settings import ServeSettings, Settings
from marketpulse.web.api import create_app
from marketpulse.web.rest.ask import AskApi
from marketpulse.web.rest.charts import ChartApi
from marketpulse.web.server import WebServer
from marketpulse.web.sql import SqlApi
from moving_feed import MovingFeed


class AskingStage(Stage):
    """A stage whose page may be asked about a lake."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sql = SqlApi(lambda: LakeDesk(settings), settings.sql)
        self._ask = AskApi(lambda: LakeDesk(settings), settings.sql)
        super().__init__(MovingFeed(symbols=4, history=30))

    def close(self) -> None:
        self._sql.close()
        self._ask.close()
        super().close()

    def _serve(self, port: int) -> WebServer:
        serve = ServeSettings(port=port)
        self._stored = None  # what comes live is enough of bars here
        self._charts = ChartApi(self.board, lambda: LiveDesk(self._settings))
        routers = [self._charts.router(), self._ask.router()]
        server = WebServer(create_app(self.board, serve, sql=self._sql, routers=routers), serve)
        server.start()
        return server
