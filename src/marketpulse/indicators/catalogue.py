"""Every indicator by name. A new one is one file beside this, one line here and one page in docs/formulas."""

from collections.abc import Iterable, Mapping

from marketpulse.indicators.ad import AD
from marketpulse.indicators.adosc import ADOSC
from marketpulse.indicators.adx import ADX
from marketpulse.indicators.adxr import ADXR
from marketpulse.indicators.alma import ALMA
from marketpulse.indicators.apo import APO
from marketpulse.indicators.aroon import AROON
from marketpulse.indicators.aroonosc import AROONOSC
from marketpulse.indicators.atr import ATR
from marketpulse.indicators.avgprice import AVGPRICE
from marketpulse.indicators.bbands import BBANDS
from marketpulse.indicators.bop import BOP
from marketpulse.indicators.cci import CCI
from marketpulse.indicators.close_volume_correl import CLOSE_VOLUME_CORREL
from marketpulse.indicators.cmf import CMF
from marketpulse.indicators.cmo import CMO
from marketpulse.indicators.declaration import Indicator, Parameter, Spec, all_columns
from marketpulse.indicators.dema import DEMA
from marketpulse.indicators.donchian import DONCHIAN
from marketpulse.indicators.dpo import DPO
from marketpulse.indicators.drawdown import DRAWDOWN
from marketpulse.indicators.dx import DX
from marketpulse.indicators.ema import EMA
from marketpulse.indicators.eom import EOM
from marketpulse.indicators.force_index import FORCE_INDEX
from marketpulse.indicators.garman_klass import GARMAN_KLASS
from marketpulse.indicators.hma import HMA
from marketpulse.indicators.ht_trendline import HT_TRENDLINE
from marketpulse.indicators.ichimoku import ICHIMOKU
from marketpulse.indicators.imbalance import IMBALANCE
from marketpulse.indicators.kama import KAMA
from marketpulse.indicators.keltner import KELTNER
from marketpulse.indicators.kurtosis import KURTOSIS
from marketpulse.indicators.linearreg import LINEARREG
from marketpulse.indicators.linearreg_angle import LINEARREG_ANGLE
from marketpulse.indicators.linearreg_intercept import LINEARREG_INTERCEPT
from marketpulse.indicators.linearreg_slope import LINEARREG_SLOPE
from marketpulse.indicators.macd import MACD
from marketpulse.indicators.max import MAX
from marketpulse.indicators.medprice import MEDPRICE
from marketpulse.indicators.mfi import MFI
from marketpulse.indicators.microprice import MICROPRICE
from marketpulse.indicators.mid import MID
from marketpulse.indicators.midpoint import MIDPOINT
from marketpulse.indicators.midprice import MIDPRICE
from marketpulse.indicators.min import MIN
from marketpulse.indicators.minus_di import MINUS_DI
from marketpulse.indicators.minus_dm import MINUS_DM
from marketpulse.indicators.mom import MOM
from marketpulse.indicators.natr import NATR
from marketpulse.indicators.notation import parse
from marketpulse.indicators.obv import OBV
from marketpulse.indicators.ofi import OFI
from marketpulse.indicators.parkinson import PARKINSON
from marketpulse.indicators.percent_rank import PERCENT_RANK
from marketpulse.indicators.plus_di import PLUS_DI
from marketpulse.indicators.plus_dm import PLUS_DM
from marketpulse.indicators.ppo import PPO
from marketpulse.indicators.realized_volatility import REALIZED_VOLATILITY
from marketpulse.indicators.rma import RMA
from marketpulse.indicators.roc import ROC
from marketpulse.indicators.rocp import ROCP
from marketpulse.indicators.rocr import ROCR
from marketpulse.indicators.rsi import RSI
from marketpulse.indicators.sar import SAR
from marketpulse.indicators.skew import SKEW
from marketpulse.indicators.sma import SMA
from marketpulse.indicators.spread import SPREAD
from marketpulse.indicators.stddev import STDDEV
from marketpulse.indicators.stoch import STOCH
from marketpulse.indicators.stochf import STOCHF
from marketpulse.indicators.stochrsi import STOCHRSI
from marketpulse.indicators.supertrend import SUPERTREND
from marketpulse.indicators.t3 import T3
from marketpulse.indicators.tema import TEMA
from marketpulse.indicators.trange import TRANGE
from marketpulse.indicators.trima import TRIMA
from marketpulse.indicators.trix import TRIX
from marketpulse.indicators.tsf import TSF
from marketpulse.indicators.tsi import TSI
from marketpulse.indicators.typprice import TYPPRICE
from marketpulse.indicators.ultosc import ULTOSC
from marketpulse.indicators.var import VAR
from marketpulse.indicators.volume_sma import VOLUME_SMA
from marketpulse.indicators.vpt import VPT
from marketpulse.indicators.vwap import VWAP
from marketpulse.indicators.vwma import VWMA
from marketpulse.indicators.wclprice import WCLPRICE
from marketpulse.indicators.willr import WILLR
from marketpulse.indicators.wma import WMA
from marketpulse.indicators.zlema import ZLEMA
from marketpulse.indicators.zscore import ZSCORE

__all__ = ["CATALOGUE", "Indicator", "Parameter", "Spec", "all_columns", "parse_indicators"]

_DECLARED = (
    SMA, EMA, MACD, RSI, BBANDS, ATR, REALIZED_VOLATILITY, VWAP, VOLUME_SMA, MID, SPREAD,
    MICROPRICE, IMBALANCE, OFI, WMA, DEMA, TEMA, TRIMA, T3, HMA, ALMA, KAMA, RMA, ZLEMA, VWMA, MIDPOINT,
    MIDPRICE, DONCHIAN, ICHIMOKU, SAR, AROON, AROONOSC, PLUS_DM, MINUS_DM, PLUS_DI, MINUS_DI, DX,
    ADX, ADXR, SUPERTREND, KELTNER, LINEARREG, LINEARREG_SLOPE, LINEARREG_ANGLE,
    LINEARREG_INTERCEPT, TSF, HT_TRENDLINE,
    MOM, ROCP, ROC, ROCR, STOCHF, STOCH, STOCHRSI, WILLR, CMO, CCI, APO, PPO,
    TRIX, ULTOSC, BOP, MFI, TSI, DPO, OBV, AD, ADOSC, CMF, FORCE_INDEX, EOM, VPT, NATR, TRANGE,
    TYPPRICE, MEDPRICE, AVGPRICE, WCLPRICE, MAX, MIN, DRAWDOWN, PARKINSON, GARMAN_KLASS, STDDEV,
    VAR, ZSCORE, SKEW, KURTOSIS, CLOSE_VOLUME_CORREL, PERCENT_RANK,
)  # fmt: skip

CATALOGUE: dict[str, Indicator] = {indicator.name: indicator for indicator in _DECLARED}


def parse_indicators(text: str | Iterable[str], own: Mapping[str, Indicator] | None = None) -> tuple[Spec, ...]:
    """`"sma(20),rsi,macd(12,26,9)"`, or a list of such texts -> what to compute, in that order.

    `own` are those of a user, by name (own.own_indicators). Raises ParameterError that shows the place of the fault (notation.py has the grammar).
    """
    return parse(text if isinstance(text, str) else ",".join(text), {**CATALOGUE, **(own or {})})
