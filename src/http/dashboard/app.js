"use strict";

fetch("readyz")
  .then((response) => response.json())
  .then(({ ready, reasons }) => {
    document.getElementById("ready").textContent = ready ? "ready" : `not ready: ${reasons.join("; ")}`;
  });
