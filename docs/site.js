// A console block shows prompts and what is printed, too. What its button copies are the commands.
document.addEventListener(
  "click",
  (event) => {
    const button = event.target.closest?.("[data-clipboard-target]");
    const code = button && document.querySelector(button.dataset.clipboardTarget);
    if (!code?.querySelector(".gp")) return;
    const commands = code.cloneNode(true);
    for (const shown of commands.querySelectorAll(".gp, .go")) shown.remove();
    button.dataset.clipboardText = commands.textContent.replace(/\n{2,}/g, "\n").trim();
  },
  true,
);
