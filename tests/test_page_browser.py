"""The operating-point page in a real browser, held against scikit-learn."""

from __future__ import annotations

import shutil
import socket

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_curve,
)

from sklearn_logprob import OperatingPointPage
from sklearn_logprob._cuts import decide
from sklearn_logprob._page_data import page_data, provenance

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs playwright: pip install playwright"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium, on Debian: apt-get install chromium"
)

RNG = np.random.default_rng(0)
N = 300
EVIL = [
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    "<!-- <script>",
    "--> ]]> <img src=x onerror='window.hacked = 1'>",
    "{{data}} ${1} &lt;b&gt; \u2028 \x00 \ud800",
]


def binary_rows():
    """Probabilities in steps of 0.1: every stop of the slider is a tie with some rows."""
    p = RNG.integers(0, 11, N) / 10
    return (RNG.random(N) < p).astype(int), np.column_stack([1 - p, p])


def topic_rows(K=3):
    """Multiples of an eighth: with equal thresholds, many rows have two best classes."""
    P = RNG.multinomial(8, np.ones(K) / K, N) / 8
    return np.array([RNG.choice(K, p=p) for p in P]), P


BINARY, TOPICS = binary_rows(), topic_rows()


def make(rows, classes, **options):
    y, P = rows
    options = {
        "texts": [f"text number {i}" for i in range(len(y))],
        "label_mass": np.full(len(y), 0.7),
        "other_tokens": [("<b>", 0.2), ("\n", 0.1)],
        "notes": provenance(len(y), n_seen=3, learnt=True, out_of_fold=False),
        **options,
    }
    return OperatingPointPage(page_data(y, P, classes, **options))


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def window(chromium):
    with chromium.new_context() as context:
        yield context


@pytest.fixture
def show(window, tmp_path):
    """Open a page, and demand in the end that it asked for nothing and had no errors."""
    opened, heard = [], []

    def opener(made):
        path = made.save(tmp_path / f"{len(opened)}.html")
        tab = window.new_page()
        tab.on("console", lambda message: heard.append(message.text))
        tab.on("pageerror", lambda error: heard.append(str(error)))
        tab.on("request", lambda request: heard.append(request.url))
        tab.goto(path.as_uri())
        assert heard == [path.as_uri()]
        heard.clear()
        opened.append(tab)
        return tab

    yield opener
    assert heard == []
    for tab in opened:
        tab.close()


def read(tab):
    """Give counts, and in full the numbers that tiles show to three digits."""
    tiles, counts = tab.evaluate(
        """() => [
          [...document.querySelectorAll("#tiles [data-value]")].map((tile) =>
            [tile.id, tile.dataset.value, tile.textContent]),
          [...document.querySelectorAll("#counts tbody tr")].map((row) =>
            [...row.querySelectorAll("b")].map((cell) => Number(cell.textContent)))
        ]"""
    )
    shown = {name: float(number) for name, number, _ in tiles}
    for name, _, text in tiles:
        if name != "cost":
            rounded = float(text.replace("–", "nan"))
            assert rounded == pytest.approx(shown[name], abs=0.000501, nan_ok=True)
    return shown | {"counts": counts}


def move(tab, label, to):
    tab.get_by_role("slider", name=label).evaluate(
        "(slider, to) => { slider.value = to;"
        " slider.dispatchEvent(new Event('input', { bubbles: true })); }",
        str(to),
    )


# ------------------------------------------------------------------ numbers


def check_binary(tab, t):
    y, P = BINARY
    predicted = decide(P, t)
    counts = confusion_matrix(y, predicted)
    precision = precision_score(y, predicted, zero_division=np.nan)
    wanted = {
        "precision": pytest.approx(precision, nan_ok=True, abs=0),
        "recall": recall_score(y, predicted),
        "f1": f1_score(y, predicted),
        "accuracy": accuracy_score(y, predicted),
        "coverage": 1,
        "cost": counts[0, 1] + counts[1, 0],
        "counts": [[*row, 0] for row in counts.tolist()],
    }
    assert read(tab) == wanted


def test_numbers_are_scikit_learns_wherever_the_slider_is(show):
    """By its value, by keyboard, and typed in to more digits; rows on it are positive."""
    tab = show(make(BINARY, ["ham", "spam"], threshold=0.5))
    check_binary(tab, 0.5)
    slider = tab.get_by_role("slider", name="Threshold for “spam”")
    for t in (0, 0.01, 0.1, 0.3, 0.37, 0.7, 1):
        move(tab, "Threshold for “spam”", t)
        check_binary(tab, t)
    slider.focus()
    for key, t in [
        ("ArrowLeft", 0.99),
        ("ArrowLeft", 0.98),
        ("Home", 0),
        ("ArrowUp", 0.01),
    ]:
        slider.press(key)
        assert float(slider.input_value()) == t
        check_binary(tab, t)
    exact = tab.get_by_role("spinbutton", name="Threshold for “spam”, exact")
    for text in ("0.6000001", "0.6", "0.5999999"):
        exact.fill(text)
        check_binary(tab, float(text))
    assert tab.locator("#setting").inner_text() == "threshold=0.5999999"
    for nonsense in ("", "7", "-1"):  # leaves the page where it is
        exact.fill(nonsense)
        check_binary(tab, 0.5999999)


@pytest.mark.parametrize("t", [(1, 1, 1), (0.2, 0.5, 0.3), (0.01, 0.99, 0.5)])
def test_one_slider_a_class_divides_the_probabilities(show, t):
    """As `threshold_` does, the first of equals winning."""
    y, P = TOPICS
    tab = show(make(TOPICS, list("abc"), threshold=np.ones(3)))
    for k, value_k in enumerate(t):
        move(tab, f"Threshold for “{'abc'[k]}”", value_k)
    predicted = decide(P, t)
    shown = read(tab)
    assert shown["counts"] == [[*r, 0] for r in confusion_matrix(y, predicted).tolist()]
    several = {"average": "macro", "zero_division": 0}
    assert shown["precision"] == pytest.approx(precision_score(y, predicted, **several))
    assert shown["recall"] == pytest.approx(recall_score(y, predicted, **several))
    assert shown["f1"] == pytest.approx(f1_score(y, predicted, **several))
    rows = tab.locator("#by-class tbody tr").all_inner_texts()
    column = [float(row.split("\t")[1].replace("–", "0")) for row in rows]
    each = precision_score(y, predicted, average=None, zero_division=0)
    np.testing.assert_allclose(column, each, atol=0.000501)
    assert tab.locator("#setting").inner_text() == f"threshold=[{t[0]}, {t[1]}, {t[2]}]"


@pytest.mark.parametrize("rows, names", [(BINARY, "ab"), (TOPICS, "abc")])
def test_costs_and_coverage(show, rows, names):
    """Rows under the confidence cost what leaving them costs, and are in no score."""
    y, P = rows
    K = len(names)
    costs = RNG.integers(0, 9, (K, K)).astype(float)
    tab = show(make(rows, list(names), threshold=np.full(K, 1.0) if K > 2 else 0.5))
    for k in range(K):
        for j in range(K):
            label = f"Cost of deciding “{names[j]}” where “{names[k]}” is true"
            tab.get_by_label(label).fill(str(costs[k, j]))
    tab.get_by_label("Cost of leaving a text to people").fill("-0.25")
    move(tab, "Leave to people", 0.7)
    predicted = decide(P, None if K > 2 else 0.5)
    kept = P[np.arange(N), predicted] >= 0.7
    assert 0 < kept.sum() < N
    shown = read(tab)
    assert shown["coverage"] == kept.mean()
    assert shown["accuracy"] == accuracy_score(y[kept], predicted[kept])
    total = costs[y, predicted][kept].sum() - 0.25 * (~kept).sum()
    assert shown["cost"] == pytest.approx(total)
    counts = confusion_matrix(y[kept], predicted[kept], labels=range(K))
    left = np.bincount(y[~kept], minlength=K)
    assert shown["counts"] == np.column_stack([counts, left]).tolist()
    assert "reject=ChowRule(0.3)" in tab.locator("#setting").inner_text()


def test_curves_and_their_point_are_scikit_learns(show):
    """Every operating point, and the one that is marked."""
    y, P = BINARY
    tab = show(make(BINARY, ["ham", "spam"], threshold=0.5))
    points = tab.evaluate("operatingPoints(data, 1).map((p) => [p.hits, p.false])")
    hits, false = np.array(points).T
    fpr, tpr, thresholds = roc_curve(y, P[:, 1], drop_intermediate=False)
    np.testing.assert_allclose(hits / y.sum(), tpr[1:])
    np.testing.assert_allclose(false / (1 - y).sum(), fpr[1:])
    precision, recall, _ = precision_recall_curve(y, P[:, 1])
    np.testing.assert_allclose(hits / (hits + false), precision[-2::-1])
    move(tab, "Threshold", 0.3)
    at = thresholds.tolist().index(0.3)
    drawn = tab.evaluate(
        "['roc', 'pr'].map((name) => { const dot = charts[name].above.firstChild;"
        " return ['cx', 'cy'].map((c) => Number(dot.getAttribute(c))); })"
    )
    here = [[fpr[at], tpr[at]], [recall[-1 - at], precision[-1 - at]]]
    wanted = tab.evaluate(
        "(points) => points.map(([x, y]) => [charts.roc.x(x), charts.roc.y(y)])", here
    )
    np.testing.assert_allclose(drawn, wanted)


def test_curves_follow_the_class_that_is_chosen(show):
    """With its area, its histogram and its false positives."""
    tab = show(make(TOPICS, list("abc"), threshold=np.ones(3)))
    tab.get_by_label("Curves and texts are about class").select_option(label="c")
    area = make(TOPICS, list("abc")).data["classes"][2]["roc_auc"]
    assert f"{area:.3f}" in tab.locator("#caption-roc").inner_text()
    assert "“c”" in tab.locator("#histogram svg").get_attribute("aria-label")
    assert "decided “c”, and are not" in tab.locator("#title-positives").inner_text()


# ------------------------------------------------------------------ texts


def test_lists_hold_the_nearest_and_the_worst(show):
    """The texts closest to the threshold, and the mistakes furthest from it."""
    p = np.linspace(0.02, 0.98, 49)
    y = (np.arange(49) % 5 == 0).astype(int)
    tab = show(make((y, np.column_stack([1 - p, p])), ["no", "yes"], threshold=0.415))
    texts = {
        name: tab.locator(f"#{name} .text").all_inner_texts()
        for name in ("near", "positives", "negatives")
    }
    wrong = [f"text number {i}" for i in np.argsort(-p) if y[i] == 0 and p[i] >= 0.415]
    missed = [f"text number {i}" for i in np.argsort(p) if y[i] == 1 and p[i] < 0.415]
    nearest = [f"text number {i}" for i in np.argsort(abs(p - 0.415), kind="stable")]
    assert texts["positives"] == wrong[:8]
    assert texts["negatives"] == missed[:8]
    assert set(texts["near"]) == set(nearest[:8])
    first = tab.locator("#positives .meta").first.inner_text()
    assert "yes 0.980, no 0.020" in first and "true “no”" in first
    move(tab, "Threshold", 1)
    assert tab.locator("#positives").inner_text() == "None at this setting."


def test_texts_and_names_stay_text(show):
    """Markup in a text, a class or a token is shown and does nothing."""
    n = len(EVIL)
    p = np.full(n, 0.4)
    y = np.zeros(n, dtype=int)
    y[0] = 1
    tab = show(make((y, np.column_stack([1 - p, p])), EVIL[:2], texts=EVIL))
    shown = tab.locator("#near .text").all_text_contents()
    assert shown == [*EVIL[:4], EVIL[4].replace("\ud800", "?")]
    assert tab.locator("thead th").nth(2).inner_text() == EVIL[1]
    assert tab.locator("#others").inner_text().startswith('"<b>" 20.0 %')
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("img, main script").count() == 0


def test_the_page_says_where_the_rows_are_from(show):
    """With a warning where fit saw them."""
    tab = show(make(BINARY, ["ham", "spam"]))
    assert f"{N} labelled texts." in tab.locator("#notes").inner_text()
    assert "3 of these 300 texts were seen by fit" in tab.locator(".warns").inner_text()


# ------------------------------------------------------------------ around it


def pasted(tab):
    """Give what is in the clipboard, through a page of the same browser window."""
    other = tab.context.new_page()
    other.set_content("<textarea></textarea>")
    other.locator("textarea").press("Control+V")
    return other.locator("textarea").input_value()


def test_the_button_copies_the_parameter(show):
    """As it is written into the classifier."""
    tab = show(make(BINARY, ["ham", "spam"]))
    move(tab, "Threshold", 0.37)
    tab.get_by_role("button", name="Copy").click()
    tab.get_by_text("Copied.").wait_for()
    assert pasted(tab) == "threshold=0.37"


def test_a_notebook_shows_the_page_in_a_frame(window):
    """Where it computes, copies, and cannot reach the notebook around it."""
    heard = []
    tab = window.new_page()
    tab.on("console", lambda message: heard.append(message.text))
    tab.set_content(f"<p>cell</p>{make(BINARY, ['ham', 'spam'])._repr_html_()}")
    frame = tab.frame_locator("iframe")
    frame.get_by_role("slider", name="Threshold").press("ArrowRight")
    assert frame.locator("#setting").inner_text() == "threshold=0.51"
    frame.get_by_role("button", name="Copy").click()
    frame.get_by_text("Copied.").wait_for()
    assert pasted(tab) == "threshold=0.51"
    assert heard == []
    inside = tab.frames[1]
    with pytest.raises(playwright.Error, match="SecurityError"):
        inside.evaluate("parent.document.title")
    tab.close()


def test_the_policy_lets_nothing_in(window, tmp_path):
    """Neither scripts nor styles that are added, nor pictures and requests."""
    path = make(BINARY, ["ham", "spam"]).save(tmp_path / "page.html")
    tab = window.new_page()
    tab.goto(path.as_uri())
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setblocking(False)
        refused = tab.evaluate(
            """async (url) => {
              const refused = [];
              addEventListener("securitypolicyviolation", (e) =>
                refused.push(e.effectiveDirective));
              const add = (tag, attributes) => document.body.append(
                Object.assign(document.createElement(tag), attributes));
              add("script", { textContent: "window.hacked = 1" });
              add("style", { textContent: "body { display: none }" });
              add("img", { src: url });
              await fetch(url, { signal: AbortSignal.timeout(500) }).catch(() => {});
              await new Promise((done) => setTimeout(done, 100));
              return refused;
            }""",
            f"http://127.0.0.1:{door.getsockname()[1]}",
        )
        with pytest.raises(BlockingIOError):
            door.accept()
    wanted = {"script-src-elem", "style-src-elem", "img-src", "connect-src"}
    assert set(refused) == wanted
    assert tab.evaluate("window.hacked") is None
    tab.close()


def test_every_control_has_a_name(show):
    """Also the charts; and there is one heading a section."""
    tab = show(make(TOPICS, list("abc"), threshold=np.ones(3)))
    unnamed = tab.evaluate(
        "[...document.querySelectorAll('input, select, button, svg')].filter((node) =>"
        " !(node.ariaLabel || node.labels?.[0]?.textContent || node.textContent.trim()))"
        ".length"
    )
    assert unnamed == 0
    for role, count in {"slider": 4, "spinbutton": 14, "combobox": 1, "img": 5}.items():
        assert tab.get_by_role(role).count() == count
    assert tab.get_by_role("heading", level=1).count() == 1


def test_what_changed_is_said_once_the_slider_rests(show):
    """For those who hear the page."""
    tab = show(make(BINARY, ["ham", "spam"]))
    move(tab, "Threshold", 0.2)
    spoken = tab.locator("#spoken").filter(has_text="threshold=0.2")
    spoken.wait_for(state="attached")
    assert f"Recall {read(tab)['recall']:.3f}" in spoken.inner_text()


def test_nothing_is_wider_than_the_screen(show):
    """Whatever texts and classes are called."""
    long = ["a class with quite a long name", "W" * 60, "c"]
    texts = ["W" * 300] * N
    for made in (
        make(TOPICS, long, threshold=np.ones(3) / 3, texts=texts),
        make(BINARY, long[:2], threshold=1 / 3, texts=texts),
    ):
        tab = show(made)
        for width in (320, 375, 768, 1280):
            tab.set_viewport_size({"width": width, "height": 800})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_legible(show, scheme):
    """Text has a contrast of 4.5 and marks of 3 to what they are on (WCAG 2, AA)."""
    tab = show(make(BINARY, ["ham", "spam"]))
    tab.emulate_media(color_scheme=scheme)
    names = ["paper", "panel", "warn", "ink", "soft", "blue", "red", "mark"]
    style = "getComputedStyle(document.documentElement)"
    colours = tab.evaluate(
        f"(names) => names.map((n) => {style}.getPropertyValue('--' + n))", names
    )
    light = {name: luminance(c) for name, c in zip(names, colours, strict=True)}
    assert (light["paper"] > 0.5) == (scheme == "light")

    def contrast(a, b):
        low, high = sorted([light[a], light[b]])
        return (high + 0.05) / (low + 0.05)

    for text, ground in [
        *[(text, g) for text in ("ink", "soft") for g in ("paper", "panel")],
        *[("ink", "warn"), ("blue", "paper"), ("red", "paper")],
    ]:
        assert contrast(text, ground) >= 4.5, (text, ground)
    assert contrast("mark", "paper") >= 3


def luminance(colour):
    channels = [int(colour.strip()[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


@pytest.mark.parametrize(
    "K, text", [(2, "映画" * 500), (2, "<&" * 500), (10, "a film " * 300)]
)
def test_five_thousand_rows_are_small_and_quick(show, text, K):
    """Under 2 MB whatever the texts are; a step takes less than a quarter of a second."""
    P = RNG.dirichlet(np.ones(K), 5000)
    y = RNG.integers(0, K, 5000)
    made = make(
        (y, P),
        [f"class {k}" for k in range(K)],
        texts=[f"{i} {text}" for i in range(5000)],
        threshold=0.5 if K == 2 else np.ones(K),
    )
    assert len(made.html.encode()) < 2_000_000
    tab = show(made)
    assert "5000 of 5000 texts are cut to" in tab.locator("#notes").inner_text()
    took = tab.evaluate(
        "() => { const start = performance.now();"
        " for (const t of [0.2, 0.4, 0.6, 0.8]) { state.thresholds[0] = t; update(); }"
        " return (performance.now() - start) / 4; }"
    )
    assert took < 250
