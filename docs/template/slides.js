// Formulas first, then the slides; the key n shows the notes.
renderMathInElement(document.body, {
  delimiters: [{ left: "$$", right: "$$", display: true }, { left: "$", right: "$", display: false }],
  ignoredTags: ["script", "style", "pre", "code"],
  throwOnError: false,
  strict: false,
});

// A formula that would run into its number, or off the slide, is set smaller.
function fit(root) {
  for (const box of root.querySelectorAll(".katex-display")) {
    const width = (selector) => [...box.querySelectorAll(selector)].reduce((sum, e) => sum + e.offsetWidth, 0);
    const need = width(".katex-html > .katex-base") + 2 * width(".katex-html > .katex-tag") + 20;
    if (need > box.offsetWidth && box.offsetWidth) box.style.fontSize = `${Math.max(0.6, box.offsetWidth / need)}em`;
  }
}

Reveal.on("ready", (e) => fit(e.currentSlide));
Reveal.on("slidechanged", (e) => fit(e.currentSlide));
Reveal.on("pdf-ready", () => fit(document));
Reveal.initialize({
  hash: true,
  width: 1060,
  height: 720,
  margin: 0.03,
  center: false,
  slideNumber: "c/t",
  transition: "none",
  pdfMaxPagesPerSlide: 1,
  keyboard: {
    78: () => {
      Reveal.configure({ showNotes: !Reveal.getConfig().showNotes });
      Reveal.layout();
    },
  },
});
