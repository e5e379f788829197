// Shows what nothing else caught. A classic script in old syntax, loaded before the modules, so that it also speaks where
// a module is missing or where the browser does not understand one.
(function () {
  function show(what) {
    var message = document.getElementById("message");
    message.textContent = "The page met an error that it did not foresee (" + what + "). Reload it to go on.";
    message.hidden = false;
    message.scrollIntoView({ block: "nearest" });
  }

  window.addEventListener(
    "error",
    function (event) {
      var file = event.target && (event.target.src || event.target.href);
      show(file ? file + ", or a file that it needs, could not be loaded" : event.message);
    },
    true, // a script that could not be loaded is only heard of on the way down
  );

  window.addEventListener("unhandledrejection", function (event) {
    show((event.reason && event.reason.message) || String(event.reason));
  });
})();
