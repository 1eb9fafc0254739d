using System.Security.Cryptography;
using System.Text.Json.Nodes;

namespace Kms.EndToEnd.Tests.StateMachine;

/// <summary>Random uses of keys, each with the model's word on it.</summary>
internal sealed class UseSteps(Dice dice, Known known, ManagementSteps management)
{
    private const string Aes = "AES256-GCM96";
    private const string Rsa = "RSA-2048";
    private const string Ecdsa = "ECDSA-P256";
    private const int MostRsaBytes = 190;

    private static readonly byte[]?[] s_contexts = [null, [], [1], [2, 3], [.. Enumerable.Repeat((byte)7, 1024)]];

    public Step Make(Model model) => dice.PickWeighted<Func<Model, Step>>(
    [
        (10, Encrypt),
        (14, Decrypt),
        (8, Reencrypt),
        (5, CreateDataKey),
        (8, Sign),
        (8, Verify),
        (4, EncryptBatch),
        (5, DecryptBatch),
        (4, ReencryptBatch),
        (4, GetPublicKey),
    ])(model);

    private Step Encrypt(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model, Aes);
        (byte[] plaintext, byte[]? context) = (PickText(key), dice.Pick(s_contexts));
        JsonObject parameters = new() { ["key"] = reference, ["plaintext"] = Convert.ToBase64String(plaintext) };
        AddContext(parameters, "context", context);
        return OnKey("crypto.encrypt", "encrypt", parameters, model, key, key =>
        {
            List<string> causes = StateCauses(key);
            causes.AddRange(SealingCauses(key, plaintext.Length, context));
            return Verdict.Unless(
                causes, () => model.Used(key, (key.Versions.Count, 1)), answer => Learn(key, plaintext, context, answer));
        });
    }

    private Step CreateDataKey(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model, Aes);
        byte[]? context = dice.Pick(s_contexts);
        int? bits = dice.Pick<int?>([128, 256, 512, null]);
        JsonObject parameters = new() { ["key"] = reference, ["includePlaintext"] = true };
        AddContext(parameters, "context", context);
        if (bits is int given)
        {
            parameters["bits"] = given;
        }

        return OnKey("crypto.createDataKey", "encrypt", parameters, model, key, key =>
        {
            List<string> causes = StateCauses(key);
            causes.AddRange(SealingCauses(key, (bits ?? 256) / 8, context));
            return Verdict.Unless(causes, () => model.Used(key, (key.Versions.Count, 1)), answer =>
            {
                byte[] dataKey = Convert.FromBase64String(answer["plaintext"]!.GetValue<string>());
                Assert.Equal((bits ?? 256) / 8, dataKey.Length);
                _ = answer.Remove("plaintext");
                Learn(key, dataKey, context, answer);
            });
        });
    }

    private Step Decrypt(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model, Aes);
        Attempt attempt = PickAttempt(key);
        JsonObject parameters = new() { ["key"] = reference, ["ciphertext"] = attempt.Ciphertext };
        AddContext(parameters, "context", attempt.Context);
        return OnKey("crypto.decrypt", "decrypt", parameters, model, key, key =>
        {
            (List<string> causes, int? touched, byte[]? plaintext) = Open(key, attempt, isAlone: true);
            if (causes.Count > 0)
            {
                return new Verdict(causes);
            }

            Model next = model.Used(key, (touched!.Value, 0));
            return plaintext is null ? Verdict.Failed(next) : Verdict.Unless([], () => next, answer => Json.Same(
                new JsonObject { ["plaintext"] = Convert.ToBase64String(plaintext), ["keyVersion"] = touched.Value }, answer));
        });
    }

    private Step Reencrypt(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model, Aes);
        Attempt attempt = PickAttempt(key);
        byte[]? newContext = dice.In100(70) ? null : dice.Pick(s_contexts);
        JsonObject parameters = new() { ["key"] = reference, ["ciphertext"] = attempt.Ciphertext };
        AddContext(parameters, "context", attempt.Context);
        AddContext(parameters, "newContext", newContext);
        return OnKey("crypto.reencrypt", "encrypt", parameters, model, key, key =>
        {
            if (ChangesContext(attempt.Context, newContext) && !model.Allows(key, "decrypt"))
            {
                return new Verdict(["forbidden"]);
            }

            (List<string> causes, int? touched, byte[]? plaintext) = Open(key, attempt, isAlone: true);
            if (causes.Count > 0)
            {
                return new Verdict(causes);
            }

            if (plaintext is null)
            {
                return Verdict.Failed(model.Used(key, Touched(key, 0, [touched!.Value])));
            }

            byte[]? context = newContext ?? attempt.Context;
            causes.AddRange(SealingCauses(key, plaintext.Length, context));
            return Verdict.Unless(causes, () => model.Used(key, Touched(key, 1, [touched!.Value])), answer =>
            {
                Assert.Equal(touched, answer["previousKeyVersion"]!.GetValue<int>());
                _ = answer.Remove("previousKeyVersion");
                Learn(key, plaintext, context, answer);
            });
        });
    }

    private Step Sign(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model, dice.Pick([Rsa, Ecdsa]));
        (byte[] message, string? algorithm, string? encoding) = (dice.Bytes(dice.Roll(40)), PickAlgorithm(key), PickEncoding(key));
        JsonObject parameters = new() { ["key"] = reference };
        AddMessage(parameters, message, algorithm, encoding);
        return OnKey("crypto.sign", "encrypt", parameters, model, key, key =>
        {
            List<string> causes = [.. StateCauses(key), .. SigningCauses(key, algorithm, encoding)];
            return Verdict.Unless(causes, () => model.Used(key, (key.Versions.Count, 1)), answer =>
            {
                Assert.Equal(AlgorithmOf(key, algorithm), answer["algorithm"]!.GetValue<string>());
                Assert.Equal(key.Versions.Count, answer["keyVersion"]!.GetValue<int>());
                string signature = answer["signature"]!.GetValue<string>();
                Assert.StartsWith($"kms:v{key.Versions.Count}:", signature, StringComparison.Ordinal);
                known.Add(new SignedText(key.Number, key.Versions.Count, message, AlgorithmOf(key, algorithm), encoding, signature));
            });
        });
    }

    private Step Verify(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model, dice.Pick([Rsa, Ecdsa]));
        List<SignedText> own = [.. known.Signed.Where(text => text.Key == key?.Number)];
        SignedText? signed = own.Count > 0 && dice.In100(85) ? dice.Pick(own) : known.Signed.Count > 0 ? dice.Pick(known.Signed) : null;
        if (signed is null)
        {
            return Sign(model);
        }

        bool isOther = dice.In100(20);
        byte[] message = isOther ? [.. signed.Message, 0] : signed.Message;
        (string? algorithm, string? encoding) = key?.Type == (signed.Algorithm.StartsWith("RSA", StringComparison.Ordinal) ? Rsa : Ecdsa)
            ? (signed.Algorithm, signed.Encoding)
            : (PickAlgorithm(key), PickEncoding(key));
        JsonObject parameters = new() { ["key"] = reference, ["signature"] = signed.Signature };
        AddMessage(parameters, message, algorithm, encoding);
        return OnKey("crypto.verify", "decrypt", parameters, model, key, key =>
        {
            List<string> causes = [.. StateCauses(key), .. SigningCauses(key, algorithm, encoding), .. VersionCauses(key, signed.Version)];
            bool isValid = signed.Key == key.Number && !isOther && AlgorithmOf(key, algorithm) == signed.Algorithm;
            return Verdict.Unless(causes, () => model.Used(key, (signed.Version, 0)), answer => Json.Same(
                new JsonObject { ["valid"] = isValid, ["keyVersion"] = signed.Version, ["algorithm"] = AlgorithmOf(key, algorithm) }, answer));
        });
    }

    private Step EncryptBatch(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model, Aes);
        List<(byte[] Plaintext, byte[]? Context)> items = [.. Enumerable.Range(0, 1 + dice.Roll(5)).Select(_ => (PickText(key), dice.Pick(s_contexts)))];
        JsonObject parameters = Batch(reference, items, (item, of) =>
        {
            item["plaintext"] = Convert.ToBase64String(of.Plaintext);
            AddContext(item, "context", of.Context);
        });
        return OnKey("crypto.encryptBatch", "encrypt", parameters, model, key, key =>
        {
            List<string>[] causes = [.. items.Select(item => SealingCauses(key, item.Plaintext.Length, item.Context))];
            return Verdict.Unless(
                StateCauses(key),
                () => model.Used(key, (key.Versions.Count, causes.Count(of => of.Count == 0))),
                answer => CheckItems(causes, answer, (number, item) => Learn(key, items[number].Plaintext, items[number].Context, item)));
        });
    }

    private Step DecryptBatch(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model, Aes);
        List<Attempt> items = [.. Enumerable.Range(0, 1 + dice.Roll(5)).Select(_ => PickAttempt(key))];
        JsonObject parameters = Batch(reference, items, AddAttempt);
        return OnKey("crypto.decryptBatch", "decrypt", parameters, model, key, key =>
        {
            List<(List<string> Causes, int? Touched, byte[]? Plaintext)> opened = items.ConvertAll(item => Open(key, item, isAlone: false));
            int[] touched = [.. opened.Where(item => item.Touched is not null).Select(item => item.Touched!.Value).Distinct()];

            // A batch in which no item came so far as to touch a version counts for the newest.
            IEnumerable<(int, int)> counted = touched.DefaultIfEmpty(key.Versions.Count).Select(version => (version, 0));
            return Verdict.Unless(StateCauses(key), () => model.Used(key, counted), answer => CheckItems(
                opened.ConvertAll(CausesOf),
                answer,
                (number, item) => Json.Same(
                    new JsonObject
                    {
                        ["plaintext"] = Convert.ToBase64String(opened[number].Plaintext!),
                        ["keyVersion"] = opened[number].Touched!.Value,
                    },
                    item)));
        });
    }

    private Step ReencryptBatch(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model, Aes);
        List<(Attempt Attempt, byte[]? NewContext)> items =
            [.. Enumerable.Range(0, 1 + dice.Roll(5)).Select(_ => (PickAttempt(key), dice.In100(80) ? null : dice.Pick(s_contexts)))];
        JsonObject parameters = Batch(reference, items, (item, of) =>
        {
            AddAttempt(item, of.Attempt);
            AddContext(item, "newContext", of.NewContext);
        });
        return OnKey("crypto.reencryptBatch", "encrypt", parameters, model, key, key =>
        {
            if (items.Exists(item => ChangesContext(item.Attempt.Context, item.NewContext)) && !model.Allows(key, "decrypt"))
            {
                return new Verdict(["forbidden"]);
            }

            List<(List<string> Causes, int? Touched, byte[]? Plaintext)> opened =
                items.ConvertAll(item => Open(key, item.Attempt, isAlone: false));
            List<string>[] causes = [.. opened.Select((item, number) => item.Plaintext is null
                ? CausesOf(item)
                : SealingCauses(key, item.Plaintext.Length, items[number].NewContext ?? items[number].Attempt.Context))];
            IEnumerable<int> touched = opened.Where(item => item.Touched is not null).Select(item => item.Touched!.Value);
            return Verdict.Unless(StateCauses(key), () => model.Used(key, Touched(key, causes.Count(of => of.Count == 0), touched)), answer => CheckItems(
                causes,
                answer,
                (number, item) =>
                {
                    Assert.Equal(opened[number].Touched, item["previousKeyVersion"]!.GetValue<int>());
                    _ = item.Remove("previousKeyVersion");
                    Learn(key, opened[number].Plaintext!, items[number].NewContext ?? items[number].Attempt.Context, item);
                }));
        });
    }

    private Step GetPublicKey(Model model)
    {
        (ModelKey? key, string reference) = PickKey(model, dice.Pick([Rsa, Ecdsa]));
        int? version = key is null || dice.In100(50) ? null : 1 + dice.Roll(key.Versions.Count + 1);
        JsonObject parameters = new() { ["key"] = reference };
        if (version is int given)
        {
            parameters["version"] = given;
        }

        return OnKey("keys.getPublicKey", "see", parameters, model, key, key =>
        {
            List<string> causes = key.Type == Aes ? ["unsupported"] : [];
            causes.AddRange(version > key.Versions.Count ? ["notFound"] : []);
            return Verdict.Unless(causes, () => model, answer =>
            {
                (int, int) name = (key.Number, version ?? key.Versions.Count);
                string publicKey = answer["publicKey"]!.GetValue<string>();
                Assert.Equal(name.Item2, answer["keyVersion"]!.GetValue<int>());
                Assert.Equal(known.PublicKeys.GetValueOrDefault(name, publicKey), publicKey);
                known.PublicKeys[name] = publicKey;
            });
        });
    }

    // ---- what is tried ----

    /// <summary>A ciphertext as it is given to the daemon, and what is known of it.</summary>
    private sealed record Attempt(SealedText Text, int Version, bool IsAltered, byte[]? Context, string Ciphertext);

    /// <summary>Mostly the key's own, as it was sealed; else another's, altered, under another version or context.</summary>
    private Attempt PickAttempt(ModelKey? key)
    {
        List<SealedText> own = [.. known.Sealed.Where(text => text.Key == key?.Number)];
        SealedText text = own.Count > 0 && dice.In100(90) ? dice.Pick(own)
            : known.Sealed.Count > 0 ? dice.Pick(known.Sealed)
            : new SealedText(-1, 1, [], null, "kms:v1:" + Convert.ToBase64String(new byte[28]));
        string base64 = text.Ciphertext[(text.Ciphertext.LastIndexOf(':') + 1)..];
        (int version, bool isAltered, byte[]? context) = (text.Version, false, text.Context);
        switch (dice.Roll(10))
        {
            case 0:
                byte[] payload = Convert.FromBase64String(base64);
                payload[dice.Roll(payload.Length)] ^= (byte)(1 << dice.Roll(8));
                (base64, isAltered) = (Convert.ToBase64String(payload), true);
                break;
            case 1:
                version = 1 + dice.Roll((key?.Versions.Count ?? 1) + 1);
                break;
            case 2:
                context = dice.Pick(s_contexts);
                break;
            default:
                break;
        }

        return new Attempt(text, version, isAltered, context, $"kms:v{version}:{base64}");
    }

    /// <summary>What becomes of it: why it isn't tried, or which version was touched, with its plaintext if it opens.</summary>
    private static (List<string> Causes, int? Touched, byte[]? Plaintext) Open(ModelKey key, Attempt attempt, bool isAlone)
    {
        List<string> causes = [.. isAlone ? StateCauses(key) : [], .. SealingCauses(key, 0, attempt.Context), .. VersionCauses(key, attempt.Version)];
        if (causes.Count > 0)
        {
            return (causes, null, null);
        }

        bool opens = attempt.Text.Key == key.Number && !attempt.IsAltered && attempt.Version == attempt.Text.Version
            && (key.Type == Rsa || IsSame(attempt.Context, attempt.Text.Context));
        return ([], attempt.Version, opens ? attempt.Text.Plaintext : null);
    }

    private static List<string> CausesOf((List<string> Causes, int? Touched, byte[]? Plaintext) item) =>
        item.Causes.Count > 0 ? item.Causes : item.Plaintext is null ? ["invalidCiphertext"] : [];

    // ---- why not ----

    private static List<string> StateCauses(ModelKey key) => key.State == "enabled" ? [] : ["invalidState"];

    private static List<string> VersionCauses(ModelKey key, int version) =>
        key.Version(version) is not ModelVersion of ? ["invalidCiphertext"] : of.State == "enabled" ? [] : ["invalidState"];

    private static List<string> SealingCauses(ModelKey key, int length, byte[]? context) => key.Type switch
    {
        Ecdsa => ["unsupported"],
        Rsa => [.. context is { Length: > 0 } ? ["invalidParams"] : Array.Empty<string>(), .. length > MostRsaBytes ? ["tooLarge"] : Array.Empty<string>()],
        _ => [],
    };

    private static List<string> SigningCauses(ModelKey key, string? algorithm, string? encoding) => key.Type switch
    {
        Aes => ["unsupported"],
        Rsa when algorithm == "ECDSA_SHA_256" || encoding is not null => ["invalidParams"],
        Ecdsa when algorithm is not (null or "ECDSA_SHA_256") => ["invalidParams"],
        _ => [],
    };

    private static string AlgorithmOf(ModelKey key, string? algorithm) =>
        algorithm ?? (key.Type == Rsa ? "RSA_PSS_SHA_256" : "ECDSA_SHA_256");

    private static bool ChangesContext(byte[]? context, byte[]? newContext) => newContext is not null && !IsSame(context, newContext);

    /// <summary>Absent and empty are the same.</summary>
    private static bool IsSame(byte[]? context, byte[]? other) => (context ?? []).AsSpan().SequenceEqual(other ?? []);

    /// <summary>The newest version sealed so many; those that were opened count one each.</summary>
    private static IEnumerable<(int Version, int Sealed)> Touched(ModelKey key, int count, IEnumerable<int> opened) =>
        opened.Where(version => version != key.Versions.Count).Distinct().Select(version => (version, 0)).Append((key.Versions.Count, count));

    // ---- building and reading messages ----

    /// <summary>What the model says of a use by one who may.</summary>
    /// <param name="Causes">Why it is refused; none: it succeeds.</param>
    /// <param name="Next">What is true then; null: what was before.</param>
    /// <param name="Check">Looks at the answer of a success.</param>
    private sealed record Verdict(IEnumerable<string> Causes, Model? Next = null, Action<JsonObject>? Check = null)
    {
        /// <summary>A success, unless something is against it.</summary>
        public static Verdict Unless(IEnumerable<string> causes, Func<Model> next, Action<JsonObject> check) =>
            causes.Any() ? new Verdict(causes) : new Verdict([], next(), check);

        /// <summary>What doesn't authenticate is refused, and was carried out all the same.</summary>
        public static Verdict Failed(Model next) => new(["invalidCiphertext"], next);
    }

    private static Step OnKey(
        string method, string action, JsonObject parameters, Model model, ModelKey? key, Func<ModelKey, Verdict> decide)
    {
        Verdict verdict = model.Denies(key, action) is string reason ? new Verdict([reason]) : decide(key!);
        return new Step(method, parameters, [.. verdict.Causes.Distinct()], verdict.Next ?? model) { Check = verdict.Check ?? (_ => { }) };
    }

    private void Learn(ModelKey key, byte[] plaintext, byte[]? context, JsonObject answer)
    {
        int version = key.Versions.Count;
        Assert.Equal(version, answer["keyVersion"]!.GetValue<int>());
        string ciphertext = answer["ciphertext"]!.GetValue<string>();
        Assert.StartsWith($"kms:v{version}:", ciphertext, StringComparison.Ordinal);
        Assert.Equal(2, answer.Count);
        known.Add(new SealedText(key.Number, version, plaintext, context, ciphertext));
    }

    /// <summary>Each item is what it must be, or the error that the single call would have answered.</summary>
    private static void CheckItems(IReadOnlyList<List<string>> causes, JsonObject answer, Action<int, JsonObject> check)
    {
        JsonArray items = answer["items"]!.AsArray();
        Assert.Equal(causes.Count, items.Count);
        for (int number = 0; number < causes.Count; number++)
        {
            JsonObject item = items[number]!.AsObject();
            if (causes[number].Count == 0)
            {
                check(number, item);
            }
            else
            {
                Assert.Contains(item["error"]!["data"]!["reason"]!.GetValue<string>(), causes[number]);
                Assert.Single(item);
            }
        }
    }

    /// <summary>Mostly of a type that can do it.</summary>
    private (ModelKey? Key, string Reference) PickKey(Model model, string type)
    {
        (ModelKey? key, string reference) = management.PickKey(model);
        for (int attempt = 0; attempt < 4 && key is not null && key.Type != type && !(type == Aes && key.Type == Rsa); attempt++)
        {
            (key, reference) = management.PickKey(model);
        }

        return (key, reference);
    }

    private byte[] PickText(ModelKey? key) => dice.Bytes(dice.Pick<int>(key?.Type == Rsa ? [0, 1, 32, 190, 191] : [0, 1, 16, 40, 300]));

    private string? PickAlgorithm(ModelKey? key) => key?.Type == Ecdsa
        ? dice.PickWeighted<string?>([(5, null), (5, "ECDSA_SHA_256"), (1, "RSA_PSS_SHA_256")])
        : dice.PickWeighted<string?>([(5, null), (4, "RSA_PSS_SHA_256"), (4, "RSA_PKCS1_SHA_256"), (1, "ECDSA_SHA_256")]);

    private string? PickEncoding(ModelKey? key) => key?.Type == Ecdsa
        ? dice.Pick([null, "der", "p1363"])
        : dice.PickWeighted<string?>([(9, null), (1, "der")]);

    private static JsonObject Batch<T>(string reference, List<T> items, Action<JsonObject, T> fill) => new()
    {
        ["key"] = reference,
        ["items"] = new JsonArray([.. items.Select(item =>
        {
            JsonObject made = [];
            fill(made, item);
            return made;
        })]),
    };

    private static void AddAttempt(JsonObject parameters, Attempt attempt)
    {
        parameters["ciphertext"] = attempt.Ciphertext;
        AddContext(parameters, "context", attempt.Context);
    }

    private static void AddContext(JsonObject parameters, string name, byte[]? context)
    {
        if (context is not null)
        {
            parameters[name] = Convert.ToBase64String(context);
        }
    }

    /// <summary>The message, or now and then its digest.</summary>
    private void AddMessage(JsonObject parameters, byte[] message, string? algorithm, string? encoding)
    {
        (string name, byte[] bytes) = dice.In100(50) ? ("message", message) : ("digest", SHA256.HashData(message));
        parameters[name] = Convert.ToBase64String(bytes);
        if (algorithm is not null)
        {
            parameters["algorithm"] = algorithm;
        }

        if (encoding is not null)
        {
            parameters["encoding"] = encoding;
        }
    }
}
