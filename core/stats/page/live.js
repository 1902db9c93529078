"use strict";

// The stream of snapshots, and the figures that come from each.
(() => {
  const $ = (id) => document.getElementById(id);
  let snapshot = null, spoken = 0;

  function set(id, text) {
    if ($(id).textContent !== text) $(id).textContent = text;
  }

  function rate(id, n) {
    const text = words.rate(n);
    if ($(id).dataset.text === text) return;
    $(id).dataset.text = text;
    const unit = document.createElement("small");
    unit.textContent = " per second";
    $(id).replaceChildren(text, unit);
  }

  function figures(s) {
    const now = s.seconds[s.seconds.length - 1];
    rate("allowed-rate", now.allowed);
    rate("refused-rate", now.refused);
    rate("shadow-rate", now.shadow_refused);
    rate("error-rate", now.errors);
    set("allowed", words.count(s.total.allowed));
    set("refused", words.count(s.total.refused));
    set("blocked", words.count(s.total.blocked));
    set("shadow", words.count(s.total.shadow_refused));
    set("errors", words.count(s.total.errors));
    set("failed-open", words.count(s.total.failed_open));
    set("quotas", words.count(s.quotas_exceeded));
    set("p99", s.latency.measured ? words.duration(s.latency.p99) : "–");
    set("store", s.store ? "in the last minute: " + s.store : "nothing was decided yet");
    set("since", "since " + words.time(s.since));
    $("error-rate").className = now.errors > 0 ? "failed" : "";
  }

  function alarm(s) {
    const open = s.failing_open[0];
    // How many there are is told below: here it would have a screen reader say all of it every second.
    const text = open && open.ongoing ? `The store fails: since ${words.time(open.from)} requests are let through undecided.` : "";
    set("alarm", text);
    $("alarm").hidden = text === "";
  }

  // Now and then a screen reader is told; every second would be too often.
  function speak(s) {
    if (Date.now() - spoken < 20000) return;
    spoken = Date.now();
    const r = s.last_minute;
    set("spoken", `In the last minute ${words.rate(r.allowed)} allowed and ${words.rate(r.refused)} refused per second.`);
  }

  function draw() {
    const span = document.querySelector("input[name=span]:checked").value;
    if (snapshot) chart.draw(snapshot[span], span === "seconds" ? 1 : 60);
  }

  function state(name, text) {
    $("state").className = "state " + name;
    set("state", text);
  }

  for (const input of document.querySelectorAll("input[name=span]")) input.addEventListener("change", draw);

  function show(e) {
    snapshot = JSON.parse(e.data);
    figures(snapshot);
    alarm(snapshot);
    draw();
    tables.update(snapshot);
    speak(snapshot);
    state("live", "Live");
    document.documentElement.dataset.snapshots = 1 + Number(document.documentElement.dataset.snapshots || 0);
  }

  // The page's own address answers to an EventSource with the stream. An EventSource tries again by itself when the stream
  // ends, but gives up for good after an answer that is none, such as a proxy's 502 or a login page.
  function connect() {
    const source = new EventSource(location.pathname + location.search);
    source.addEventListener("snapshot", show);
    source.addEventListener("error", () => {
      state("lost", "Connection lost, trying again");
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 5000);
    });
  }
  connect();
})();
