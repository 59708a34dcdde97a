// The page's parts, wired together.

import { call, collection } from "./api.js";
import { startAppearance } from "./appearance.js";
import { startBox } from "./box.js";
import { startCamera } from "./camera.js";
import { refresh, startClasses } from "./classes.js";
import { byId, tell } from "./dom.js";
import { startExample } from "./example.js";
import { startHeat } from "./heat.js";
import { startIntake } from "./intake.js";
import { startLook } from "./look.js";
import { startMake } from "./make.js";
import { run, startMany } from "./many.js";
import { notice } from "./notices.js";
import { startRanking } from "./ranking.js";
import { startSliders } from "./sliders.js";
import { open } from "./stage.js";
import { startStarts } from "./starts.js";
import { emit, state } from "./state.js";
import { startStatus } from "./status.js";
import { startTabs } from "./tabs.js";
import { startWhy } from "./why.js";

function receive(files) {
  if (files.length > 1) run(files);
  open(files[0]);
}

startAppearance();
tell(byId("collection"), collection && `collection ${collection}`);
startTabs();
startIntake(receive);
startCamera(receive);
startExample(receive);
startBox();
startHeat();
startWhy(); // hears of a new photograph before the ranking does, and forgets the old one's reasons
startRanking();
startLook();
startSliders();
startMake();
startStarts();
startClasses();
startMany((file) => open(file));
startStatus();

try {
  state.attributes = (await call("attributes", { patient: true })).attributes;
  emit("attributes");
  refresh();
} catch (error) {
  notice(error.message, { kind: "problem" });
}
