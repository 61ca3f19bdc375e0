// Brings one explorer to life: its slider picks the frame, its second controls pick the set of frames. It is
// called as soon as the first set has arrived; the others may still be on their way.
window.bringToLife = (figure) => {
  const part = (selector) => figure.querySelector(selector);
  const read = (name) => JSON.parse(part(`script[data-name="${name}"]`)?.textContent ?? "null");
  const [slider, output, image] = ["input[type=range]", "output", "img"].map(part);
  const [frame, words] = [".picture > svg", "figcaption > span"].map(part);
  const controls = [...figure.querySelectorAll("select, input[type=checkbox]")];
  const chosen = (control) => (control.type === "checkbox" ? Number(control.checked) : control.selectedIndex);
  const values = read("values");
  const images = [image.getAttribute("src")];
  const sets = {};

  const show = () => {
    const name = controls.map(chosen).join();
    sets[name] ??= read(name);
    const at = slider.valueAsNumber;
    const set = sets[name];
    if (!set) return;
    images[set.image] ??= read(`image ${set.image}`);
    const picture = images[set.image];
    if (image.getAttribute("src") !== picture) image.src = picture;
    image.alt = set.alt;
    frame.innerHTML = set.frames[at];
    frame.setAttribute("aria-label", set.words[at]);
    words.textContent = set.words[at];
    output.textContent = values[at];
    slider.setAttribute("aria-valuetext", values[at]);
  };

  figure.dataset.alive = "yes";
  figure.addEventListener("input", show);
  addEventListener("pageshow", show); // a browser that goes back keeps where the slider was
};
