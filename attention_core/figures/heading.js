// A figure's title and the one question it asks.

/** @typedef {{get(name: string): any}} HeadingModel */

export default {
  /** @param {{model: HeadingModel, el: HTMLElement}} view */
  render({ model, el }) {
    for (const name of ["title", "question"]) {
      const line = document.createElement("p");
      line.className = `pa-${name}`;
      line.textContent = model.get(name);
      el.append(line);
    }
  },
};
