// What this page says otherwise than the service's: photos stay on the device.

import { STRINGS } from "./strings.js";

const WORDS = {
  en: {
    privacy: "They stay on this device: nothing is sent anywhere.",
    loading: "The model is on its way to this device…",
    noModel: "The model could not be started: {why}. Load the page again, or use a newer browser.",
    differs: "On this device the model says other things than where it was made: use another browser.",
    noHeat: "Heat maps are drawn by kramar serve and kramar classify --explain.",
    errorTooLarge: "The photo has too many pixels: shrink it first.",
    errorFailed: "Something went wrong on this device; it may be out of memory.",
  },
  uk: {
    privacy: "Вони лишаються на цьому пристрої: нікуди нічого не надсилається.",
    loading: "Модель завантажується на цей пристрій…",
    noModel: "Модель не вдалося запустити: {why}. Оновіть сторінку або візьміть новіший браузер.",
    differs: "На цьому пристрої модель відповідає не так, як там, де її створено: візьміть інший браузер.",
    noHeat: "Теплові карти малюють kramar serve і kramar classify --explain.",
    errorTooLarge: "У фото забагато пікселів: спершу зменште його.",
    errorFailed: "Щось пішло не так на цьому пристрої; можливо, забракло пам’яті.",
  },
};

export function useWords() {
  for (const [language, words] of Object.entries(WORDS)) Object.assign(STRINGS[language], words);
}
