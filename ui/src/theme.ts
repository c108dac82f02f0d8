// Runs before anything is drawn: whoever chose colors sees no others, not even for a moment.
try {
  const chosen = localStorage.getItem('marathon.theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.setAttribute('data-theme', chosen);
} catch {
  // Without storage the system's colors hold.
}
