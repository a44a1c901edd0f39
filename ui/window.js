// What the window does by itself, without the server. It is read before Gradio starts.
(() => {
  // Gradio reads the theme from the address only.
  const theme = localStorage.getItem('darkroom-theme'), here = new URL(location);
  if (theme && !here.searchParams.has('__theme')) {
    here.searchParams.set('__theme', theme);
    location.replace(here);
  }
  // Gradio's first tab calls itself selected at once: the page that was open before a reload is put aside.
  window.darkroomPage = sessionStorage.getItem('darkroom-page') || '';
  // Who clicks before all has come is not led elsewhere any more.
  addEventListener('click', event => { window.darkroomClicked ||= event.isTrusted; }, true);
  // Escape closes the drawer.
  addEventListener('keydown', event => {
    if (event.key === 'Escape') document.querySelector('#runs.open .toggle-button')?.click();
  });
  // What Gradio does not tell a screen reader: which sections are open, and the name of a button that is a sign.
  const say = (element, name, value) => {
    if (element && element.getAttribute(name) !== value) element.setAttribute(name, value);
  };
  new MutationObserver(() => {
    for (const head of document.querySelectorAll('button.label-wrap')) {
      say(head, 'aria-expanded', String(head.classList.contains('open')));
    }
    say(document.querySelector('#toggle-theme'), 'aria-label', 'Light or dark');
  }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ['class'] });
})();
