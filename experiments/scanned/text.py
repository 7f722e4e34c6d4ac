"""Endless nonsense with the letters, lengths and punctuation of eleven languages, for pages that nobody reads.

Words are drawn from a list of common ones. Where the script allows it, a fifth of them are spliced from the halves of two.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Language:
    """Words, commonest first, and the rules by which they form sentences."""

    vocabulary: str  # words with spaces between
    space: str = " "  # between words
    comma: str = ","
    stop: str = "."
    right_to_left: bool = False
    has_capitals: bool = False
    is_spliceable: bool = False  # the beginning of one word and the end of another form a word of the script

    @cached_property
    def words(self) -> tuple[str, ...]:
        return tuple(self.vocabulary.split())

    def alphabet(self) -> str:
        """The letters of the words, sorted, each once."""
        return "".join(sorted(set("".join(self.words))))


ENGLISH = Language(
    vocabulary="""
    the of and to in a that was it for on with as his he be at by had not are but from or have an they which one you were her
    all she there would their we him been has when who will more no if out so said what up its about into than them can only
    other new some could time these two may then do first any my now such like our over man me even most made after also did
    many before must through back years where much your way well down should because each just those people how too little
    state good very make world still own see men work long get here between both life being under never day another know
    government while last might us great old year off come since against go came right used take three parliament railway
    harbour question price wheat council evening letter county measure yesterday opinion journey quarter lieutenant
    """,
    has_capitals=True,
    is_spliceable=True,
)
GERMAN = Language(
    vocabulary="""
    der die und in den von zu das mit sich des auf für ist im dem nicht ein Die eine als auch es an werden aus er hat daß sie
    nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber vor zur bis mehr durch man Jahr
    dann sein wurde sei Regierung hatte kann gegen vom schon wenn habe seine unter wir soll ich eines Ende zwei seit diese
    müssen seiner Bundesrat gestern Abend Stadt große Häuser Kanton Zürich Verhältnisse Eisenbahn Gesetz Berathung Schiff
    Frage ersten zwischen wieder Volk Zeitung Preis Mehl Brücke König Straße schließlich Versammlung Antrag Kommission fünfzig
    Franken beschlossen Herr Präsident Unterstützung Wasserkraft schätzt übrigen möglich
    """,
    has_capitals=True,
    is_spliceable=True,
)
FRENCH = Language(
    vocabulary="""
    de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont mais comme ou si leur y dont
    elle deux ces même avec tout nous sa aux été faire autre après aussi encore où peut être temps très avant années ville
    général hier séance député question près République français entre sans sous chemin siècle théâtre égalité première déjà
    forêt naïf cœur garçon grâce façon maître à côté août
    """,
    has_capitals=True,
    is_spliceable=True,
)
POLISH = Language(
    vocabulary="""
    w i z na do się nie że to jest o jak za od po przez co dla tak czy może tym był już tylko jego być ale są ich tego przy
    lub także który roku lat można sobie było jeszcze więc bardzo pod która między wiele każdy miasto książka wieś żółty
    ćwierć dzień łódź mąż święto źródło pięć sześć długość później człowiek rząd sąd wzór śnieg
    """,
    has_capitals=True,
    is_spliceable=True,
)
RUSSIAN = Language(
    vocabulary="""
    и в не на я быть он с что а по это она этот к но они мы весь который из у свой вы так за от о год человек бы время один
    вчера город такой тот только себя другой дело жизнь день рука очень раз работа слово место друг дом ещё стать сила большой
    конец земля вопрос съезд объявление железная дорога правительство министр цена хлеб общество улица губерния между чтобы
    сегодня газета подъём щука эхо юг яблоко шея
    """,
    has_capitals=True,
    is_spliceable=True,
)
GREEK = Language(
    vocabulary="""
    και το να του η της με που την από για τα στο είναι των σε ο οι στην θα τη στη τον τις ένα μας δεν ότι τους μια αυτό ή αν
    όπως κατά μετά έχει πως πολύ χρόνια μέσα πρώτη ζωή κόσμος ψυχή λόγος ήμερα ώρα πόλη φως θάλασσα ξένος βιβλίο γράμμα
    εφημερίδα κυβέρνηση υπουργός χθες βουλή δρόμος άνθρωπος ύδωρ
    """,
    has_capitals=True,
    is_spliceable=True,
)
ARABIC = Language(
    vocabulary="""
    في من على إلى أن عن التي كان هذا الذي هذه ما لا مع كل بعد قد بين أو ذلك غير قبل حيث عند لم أكثر خلال يوم المدينة الحكومة
    العالم وقال الرئيس سنة الناس كتاب العمل الماء السوق الجريدة مجلس القطن سعر شارع البحر طريق جديد كبير أول صباح ليلة خبر
    شؤون ظهر ضوء ثقافة خليفة غزو صحيح زيت جبل حق نهر
    """,
    comma="،",
    right_to_left=True,
    is_spliceable=True,
)
HINDI = Language(
    vocabulary="""
    के में की है से का को और पर ने यह कि एक भी हैं इस कर तो ही लिए नहीं था वह गया अपने जो हो दिया करने कहा साथ बाद तक थी सरकार
    भारत लोग समय दिन काम देश जब कुछ सभी बहुत राज्य नगर पुस्तक विश्व प्रथम वर्ष मंत्री क्षेत्र शिक्षा ज्ञान श्री जीवन मनुष्य
    रुपये समाचार पत्र बाज़ार पढ़ना ऊँचा ऋतु औषध घर छोटा झरना ठीक ढंग फल
    """,
    stop="।",
)
CHINESE = Language(
    vocabulary="""
    的 一 是 不 了 在 人 有 我 他 这 个 们 中 来 上 大 为 和 国 地 到 以 说 时 要 就 出 会 可 也 你 对 生 能 而 子 那 得 于 着
    下 自 之 年 过 发 后 作 里 用 道 行 所 然 家 种 事 成 方 多 经 么 去 法 学 如 都 同 现 当 没 动 面 起 看 定 天 分 还 进 好
    小 部 其 些 主 样 理 心 她 本 前 开 但 因 只 从 想 实 日 军 者 意 无 力 它 与 长 把 机 十 民 第 公 此 已 工 使 情 明 性 知
    全 三 又 关 点 正 业 外 将 两 高 间 由 问 很 最 重 并 物 手 应 战 向 头 文 体 政 美 相 见 被 利 什 二 等 产 或 新 己 制 身
    果 加 西 斯 月 话 合 回 特 代 内 信 表 化 老 给 世 位 次 度 门 任 常 先 海 通 教 儿 原 东 声 提 立 及 比 员 解 水 名 真 论
    处 走 义 各 入 几 口 认 条 平 系 气 题 活 尔 更 别 打 女 变 四 神 总 何 电 数 安 少 报 才 结 反 受 目 太 量 再 感 建 务 做
    接 必 场 件 计 管 期 市 直 德 资 命 山 金 指
    """,
    space="",
    comma="，",
    stop="。",
)
JAPANESE = Language(
    vocabulary="""
    の に は を た が で て と し れ さ ある いる も する から な こと として い や など なっ ない この ため その あっ よう
    また もの という あり まで られ なる へ か だ これ によって により おり より による ず なり られる において ば なかっ なく
    しかし について せ だっ できる それ 日 年 大 十 二 本 中 長 出 三 同 時 政 事 自 行 社 見 月 分 議 後 前 民 生 連 五 発 間
    対 上 部 東 者 党 地 合 市 業 内 相 方 四 定 今 回 新 場 金 員 九 入 選 立 開 手 米 力 学 問 高 代 明 実 円 関 決 子 動 京
    全 目 表 戦 経 通 外 最 言 氏 現 理 調 体 化 田 当 八 六 約 主 題 下 首 意 法 ラジオ ホテル カメラ ニュース
    """,
    space="",
    comma="、",
    stop="。",
)
KOREAN = Language(
    vocabulary="""
    이 그 수 있는 하는 것은 그리고 대한 위해 있다 한다 그는 우리 사람 때문에 많은 다른 없는 나라 정부 어제 서울 신문 시장 학교
    문제 경제 사회 역사 생활 세계 처음 다시 가장 모든 함께 지난 오늘 새로운 생각 시간 물건 값이 오르고 바다 산과 강을 건너
    철도 회의 의견 책을 읽고 쓰는 일이다 밝혔다 되었다 않았다 여러 가지
    """,
)


def sentence(language: Language, rng: np.random.Generator) -> list[str]:
    """A sentence as a list of words with their punctuation."""
    weights = 1 / (np.arange(len(language.words)) + 8.0)
    chosen = [str(word) for word in rng.choice(language.words, int(rng.integers(4, 22)), p=weights / weights.sum())]
    if language.is_spliceable:
        chosen = [_spliced(word, str(rng.choice(language.words))) if rng.random() < 0.2 else word for word in chosen]
    chosen = [number(rng) if rng.random() < 0.03 else word for word in chosen]
    chosen = [word + language.comma if rng.random() < 0.08 else word for word in chosen[:-1]] + [chosen[-1] + language.stop]
    if language.has_capitals:
        chosen = [word.capitalize() if place == 0 or rng.random() < 0.06 else word for place, word in enumerate(chosen)]
    return chosen


def paragraph(language: Language, rng: np.random.Generator) -> list[str]:
    """One to seven sentences."""
    return [word for _ in range(int(rng.integers(1, 8))) for word in sentence(language, rng)]


def phrase(language: Language, rng: np.random.Generator, words: int) -> str:
    """A few words without punctuation, for headlines, tables and stamps."""
    chosen = [str(word) for word in rng.choice(language.words, words)]
    if language.has_capitals:
        chosen = [word[:1].upper() + word[1:] for word in chosen]
    return language.space.join(chosen)


def number(rng: np.random.Generator) -> str:
    """A number as prices, years and counts look."""
    forms = (f"{rng.integers(1, 100)}", f"{rng.integers(1780, 1999)}", f"{rng.integers(1, 999)}.{rng.integers(10, 99)}")
    return str(rng.choice(forms))


def _spliced(first: str, second: str) -> str:
    """The first half of one word and the second half of another."""
    return first[: (len(first) + 1) // 2] + second[len(second) // 2 :].lower()
