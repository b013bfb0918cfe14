"use strict";
// Swipe, zoom and pan of each map; all of it is reached by keyboard, too.
for (const viewer of document.querySelectorAll(".viewer")) {
  const view = viewer.querySelector(".view");
  const swipe = viewer.querySelector(".swipe");
  const opacity = viewer.querySelector(".opacity");
  const most = 16;
  let zoom = 1, x = 0, y = 0;

  const limit = (value, low, high) => Math.min(Math.max(value, low), high);
  const show = (gradually) => {
    const { clientWidth: width, clientHeight: height } = view;
    x = limit(x, width * (1 - zoom), 0);
    y = limit(y, height * (1 - zoom), 0);
    view.classList.toggle("step", Boolean(gradually));
    view.classList.toggle("near", zoom > 1);
    view.style.setProperty("--z", zoom);
    view.style.setProperty("--x", `${x}px`);
    view.style.setProperty("--y", `${y}px`);
  };
  // Zooms about a point of the view, in pixels of it.
  const zoomTo = (wanted, at, gradually) => {
    const next = limit(wanted, 1, most);
    const px = at ? at[0] : view.clientWidth / 2, py = at ? at[1] : view.clientHeight / 2;
    x = px - (px - x) * next / zoom;
    y = py - (py - y) * next / zoom;
    zoom = next;
    show(gradually);
  };
  const setSwipe = (value) => {
    if (!swipe) return;
    swipe.value = limit(value, 0, 100);
    view.style.setProperty("--swipe", `${swipe.value}%`);
  };
  const place = (event) => {
    const box = view.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  if (swipe) swipe.addEventListener("input", () => setSwipe(Number(swipe.value)));
  if (opacity) opacity.addEventListener("input", () => view.style.setProperty("--opacity", opacity.value / 100));
  for (const button of viewer.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      const what = button.dataset.zoom;
      zoomTo(what === "all" ? 1 : zoom * (what === "in" ? 1.5 : 1 / 1.5), null, true);
    });
  }
  view.addEventListener("keydown", (event) => {
    const step = 60, keys = {
      "+": () => zoomTo(zoom * 1.5, null, true), "=": () => zoomTo(zoom * 1.5, null, true),
      "-": () => zoomTo(zoom / 1.5, null, true), "0": () => zoomTo(1, null, true),
      ArrowLeft: () => { x += step; show(true); }, ArrowRight: () => { x -= step; show(true); },
      ArrowUp: () => { y += step; show(true); }, ArrowDown: () => { y -= step; show(true); },
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    // Where nothing is to be moved, arrows scroll the page.
    if (event.key.startsWith("Arrow") && zoom === 1) return;
    event.preventDefault();
    keys[event.key]();
  });
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomTo(zoom * Math.exp(-event.deltaY / 300), place(event));
  }, { passive: false });
  view.addEventListener("dblclick", (event) => zoomTo(zoom * 2, place(event), true));

  // One pointer moves the map, or the divider; two zoom.
  const pointers = new Map();
  let swiping = false;
  view.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pointers.set(event.pointerId, place(event));
    swiping = Boolean(swipe) && Boolean(event.target.closest(".divider") || (zoom === 1 && event.pointerType === "mouse"));
    view.setPointerCapture(event.pointerId);
  });
  view.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const apart = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
      zoomTo(zoom * apart(now) / apart(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
    } else if (swiping) {
      setSwipe(100 * now[0] / view.clientWidth);
    } else if (zoom > 1) {
      x += now[0] - before[0];
      y += now[1] - before[1];
      show();
    }
    pointers.set(event.pointerId, now);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    view.addEventListener(name, (event) => pointers.delete(event.pointerId));
  }
  addEventListener("resize", () => show());
}
// On paper, settings and versions are open.
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not([open])")) {
    part.dataset.closed = "";
    part.open = true;
  }
});
addEventListener("afterprint", () => {
  for (const part of document.querySelectorAll("details[data-closed]")) {
    delete part.dataset.closed;
    part.open = false;
  }
});
