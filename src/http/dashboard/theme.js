// The colours that somebody chose, before anything is drawn; and the switch. Without a choice they are the system's.
'use strict';
{
  const KEY = 'projectord.theme';
  const ORDER = ['system', 'light', 'dark'];
  const root = document.documentElement;
  const chosen = () => {
    try {
      const kept = localStorage.getItem(KEY);
      return ORDER.includes(kept) ? kept : 'system';
    } catch {
      return 'system';
    }
  };
  const show = (theme) => {
    root.dataset.theme = theme;
    const button = document.getElementById('theme');
    if (!button) return;
    button.textContent = `Colours: ${theme}`;
  };
  show(chosen());
  addEventListener('DOMContentLoaded', () => {
    show(chosen());
    document.getElementById('theme').addEventListener('click', () => {
      const next = ORDER[(ORDER.indexOf(root.dataset.theme) + 1) % ORDER.length];
      try {
        localStorage.setItem(KEY, next);
      } catch {
        // Where nothing may be kept, the choice lasts as long as the page.
      }
      show(next);
    });
  });
}
