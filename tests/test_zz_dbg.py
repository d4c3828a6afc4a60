from conftest import *
from conftest import notebook
from test_tour import tour, TELL, figures_follow
import time
def test_it(voila):
    book = tour(); book["cells"] += notebook([TELL])["cells"]
    t0=time.time()
    page, folder = voila(book, 1280)
    for k in range(40):
        page.wait_for_timeout(10000)
        n = page.evaluate("[document.querySelectorAll('.dpv').length, document.querySelectorAll('.js-plotly-plot .main-svg').length, !!document.querySelector('.the-scrubber .dpv'), document.querySelectorAll('.jp-OutputArea-output').length]")
        print(round(time.time()-t0), n, (folder/'work/state.json').exists(), page.wrong[-3:], flush=True)
        if n[2]: break
    page.screenshot(path="/tmp/v3.png", full_page=True)
    print(open(folder/'voila.log').read()[-1500:])
