"""Every indicator by name. A new one is one file beside this, one line here and one page in docs/formulas."""

from collections.abc import Iterable

from marketpulse.indicators.adx import ADX
from marketpulse.indicators.adxr import ADXR
from marketpulse.indicators.alma import ALMA
from marketpulse.indicators.aroon import AROON
from marketpulse.indicators.aroonosc import AROONOSC
from marketpulse.indicators.atr import ATR
from marketpulse.indicators.bbands import BBANDS
from marketpulse.indicators.declaration import Indicator, Parameter, Spec, all_columns
from marketpulse.indicators.dema import DEMA
from marketpulse.indicators.donchian import DONCHIAN
from marketpulse.indicators.dx import DX
from marketpulse.indicators.ema import EMA
from marketpulse.indicators.hma import HMA
from marketpulse.indicators.ht_trendline import HT_TRENDLINE
from marketpulse.indicators.ichimoku import ICHIMOKU
from marketpulse.indicators.imbalance import IMBALANCE
from marketpulse.indicators.kama import KAMA
from marketpulse.indicators.keltner import KELTNER
from marketpulse.indicators.linearreg import LINEARREG
from marketpulse.indicators.linearreg_angle import LINEARREG_ANGLE
from marketpulse.indicators.linearreg_intercept import LINEARREG_INTERCEPT
from marketpulse.indicators.linearreg_slope import LINEARREG_SLOPE
from marketpulse.indicators.macd import MACD
from marketpulse.indicators.microprice import MICROPRICE
from marketpulse.indicators.mid import MID
from marketpulse.indicators.midpoint import MIDPOINT
from marketpulse.indicators.midprice import MIDPRICE
from marketpulse.indicators.minus_di import MINUS_DI
from marketpulse.indicators.minus_dm import MINUS_DM
from marketpulse.indicators.notation import parse
from marketpulse.indicators.plus_di import PLUS_DI
from marketpulse.indicators.plus_dm import PLUS_DM
from marketpulse.indicators.realized_volatility import REALIZED_VOLATILITY
from marketpulse.indicators.rma import RMA
from marketpulse.indicators.rsi import RSI
from marketpulse.indicators.sar import SAR
from marketpulse.indicators.sma import SMA
from marketpulse.indicators.spread import SPREAD
from marketpulse.indicators.supertrend import SUPERTREND
from marketpulse.indicators.t3 import T3
from marketpulse.indicators.tema import TEMA
from marketpulse.indicators.trima import TRIMA
from marketpulse.indicators.tsf import TSF
from marketpulse.indicators.volume_sma import VOLUME_SMA
from marketpulse.indicators.vwap import VWAP
from marketpulse.indicators.vwma import VWMA
from marketpulse.indicators.wma import WMA
from marketpulse.indicators.zlema import ZLEMA

__all__ = ["CATALOGUE", "Indicator", "Parameter", "Spec", "all_columns", "parse_indicators"]

_DECLARED = (
    SMA, EMA, MACD, RSI, BBANDS, ATR, REALIZED_VOLATILITY, VWAP, VOLUME_SMA, MID, SPREAD,
    MICROPRICE, IMBALANCE, WMA, DEMA, TEMA, TRIMA, T3, HMA, ALMA, KAMA, RMA, ZLEMA, VWMA, MIDPOINT,
    MIDPRICE, DONCHIAN, ICHIMOKU, SAR, AROON, AROONOSC, PLUS_DM, MINUS_DM, PLUS_DI, MINUS_DI, DX,
    ADX, ADXR, SUPERTREND, KELTNER, LINEARREG, LINEARREG_SLOPE, LINEARREG_ANGLE,
    LINEARREG_INTERCEPT, TSF, HT_TRENDLINE,
)  # fmt: skip

CATALOGUE: dict[str, Indicator] = {indicator.name: indicator for indicator in _DECLARED}


def parse_indicators(text: str | Iterable[str]) -> tuple[Spec, ...]:
    """`"sma(20),rsi,macd(12,26,9)"`, or a list of such texts -> what to compute, in that order.

    Raises ParameterError that shows the place of the fault (notation.py has the grammar).
    """
    return parse(text if isinstance(text, str) else ",".join(text), CATALOGUE)
